"""Records as pandas frames: metrics, and rows of sample tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

    from harness.evaluation.records.record import RunRecord


def metric_rows(record: RunRecord) -> list[dict[str, Any]]:
    """A row per metric of a record. value, low, high: in `unit`, with the 95 % interval; n: images behind it."""
    common = {"suite": record.suite, "version": record.suite_version, "status": record.status}
    common |= {"coverage": record.coverage, "model": record.model.name, "method": record.method}
    rows = []
    for metric in record.metrics:
        low, high = metric.interval
        values = {"value": metric.value, "low": low, "high": high, "n": metric.n, "unit": metric.unit}
        values["higher_is_better"] = metric.higher_is_better
        rows.append({**common, "condition": metric.condition, "metric": metric.name, **values, "key": record.key})
    return rows


def of_metrics(record: RunRecord) -> pd.DataFrame:
    """`metric_rows` as a frame."""
    import pandas as pd  # which takes a second, and leaderboards do without

    return pd.DataFrame(metric_rows(record))


def of_rows(rows: Mapping[str, Any]) -> pd.DataFrame:
    """A row per sample and condition. rows: columns (N,) or (N, K); a cell of the latter holds an array (K,)."""
    import pandas as pd

    return pd.DataFrame({name: values if values.ndim == 1 else list(values) for name, values in rows.items()})
