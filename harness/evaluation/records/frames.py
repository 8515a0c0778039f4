"""Records as pandas frames: metrics, and rows of sample tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pandas as pd

if TYPE_CHECKING:
    from harness.evaluation.records.record import RunRecord


def of_metrics(record: RunRecord) -> pd.DataFrame:
    """A row per metric of a record. value, low, high: in `unit`, with the 95 % interval; n: samples behind it."""
    common = {"suite": record.suite, "version": record.suite_version, "status": record.status}
    common |= {"coverage": record.coverage, "model": record.model.name, "method": record.method}
    rows = []
    for metric in record.metrics:
        low, high = metric.interval
        values = {"value": metric.value, "low": low, "high": high, "n": metric.n, "unit": metric.unit}
        rows.append({**common, "condition": metric.condition, "metric": metric.name, **values, "key": record.key})
    return pd.DataFrame(rows)


def of_rows(rows: Mapping[str, Any]) -> pd.DataFrame:
    """A row per sample and condition. rows: columns (N,) or (N, K); a cell of the latter holds an array (K,)."""
    return pd.DataFrame({name: values if values.ndim == 1 else list(values) for name, values in rows.items()})
