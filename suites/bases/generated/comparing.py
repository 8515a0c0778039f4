"""Paired comparison of two guided rows: the same noise and the same classes asked for."""

from __future__ import annotations

from typing import Any

from harness.evaluation.records.record import RunRecord
from harness.metrics.paired import compare_condition, compare_values, holm
from harness.report import comparison
from harness.report.selection import check_pairable
from harness.report.table import Table
from harness.suites.bases.generated.scoring import values_by_name


def table(a: RunRecord, b: RunRecord) -> Table:
    """Differences B minus A of the judge's accuracy (McNemar) and of other means over samples (paired t)."""
    check_pairable(a, b)
    rows_a, rows_b = comparison.common_rows(a, b, "prediction", "log_probability")
    right = compare_condition(*(rows["prediction"] == rows["label"] for rows in (rows_a, rows_b)))
    data: list[dict[str, Any]] = [_numbers("accuracy (points)", right, 100)]
    for (name, values_a), (_, values_b) in zip(values_by_name(rows_a), values_by_name(rows_b), strict=True):
        data.append(_numbers(name.replace("_", " ") + " (nats)", compare_values(values_a, values_b), 1))
    for row, p in zip(data, holm([row["p"] for row in data]), strict=True):
        row["p"] = p
    rows = [[row["metric"], _spell(row), comparison.spell_p(row["p"])] for row in data]
    caption = (
        f"{right.n} samples from the same noise. Positive: B is better. Only A right: {right.a_only}, only B: "
        f"{right.b_only}. p: exact McNemar for the accuracy, else Student's t of paired differences"
    )
    caption += comparison.several(len(rows)) + comparison.coverages(a, b)
    return Table(comparison.versus(a, b), ["metric", "difference", "p"], rows, caption, data=data)


def _spell(row: dict[str, Any]) -> str:
    return f"{row['difference']:+.3g} [{row['low']:+.3g}, {row['high']:+.3g}]"


def _numbers(name: str, result: Any, unit: float) -> dict[str, Any]:
    low, high = result.interval
    ends = {"difference": unit * result.difference, "low": unit * low, "high": unit * high}
    return {"metric": name, **ends, "n": result.n, "p": float(result.p)}
