"""Tables and figures of the alignment of gradients."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from harness.evaluation.records.keys import benchmark
from harness.evaluation.records.record import RunRecord
from harness.metrics.intervals import Undefined
from harness.metrics.paired import compare_values, holm
from harness.report import comparison
from harness.report.figures import draw as figures
from harness.report.names import title
from harness.report.selection import check_pairable
from harness.report.table import Table
from harness.suites.bases.gradients.measures import NONVANISHING, PRIMARY, selected
from harness.types import HarnessError

COMPARED = (*PRIMARY, *NONVANISHING)
"""Means of which two records are compared."""

AXES = {
    "cosine_score": "cosine, score target",
    "cosine_mean": "cosine, class mean",
}


def compared(a: RunRecord, b: RunRecord, conditions: Sequence[str]) -> Table:
    """Paired differences of the means, B minus A, per condition and measure, on the images that both have.

    Those of `NONVANISHING` are on images for which neither gradient vanishes.
    """
    check_pairable(a, b)
    if benchmark(a.suite) != benchmark(b.suite):
        raise HarnessError(f"{a.suite} and {b.suite} measure gradients by different targets, judges or steps.")
    rows_a, rows_b = comparison.common_rows(a, b, *PRIMARY, "exists", "norm")
    data: list[dict[str, Any]] = []
    for name in conditions:
        exist = (rows_a["condition"] == name) & rows_a["exists"] & rows_b["exists"]
        for measure in COMPARED:
            values_a, cells_a = selected(rows_a, exist, measure)
            values_b, cells_b = selected(rows_b, exist, measure)
            cells = cells_a & cells_b
            try:
                result = compare_values(values_a[cells], values_b[cells])
            except Undefined:
                continue
            low, high = result.interval
            numbers = {"difference": result.difference, "low": low, "high": high, "n": result.n, "p": result.p}
            data.append({"condition": name, "measure": measure, **numbers})
    for row, p in zip(data, holm([row["p"] for row in data]), strict=True):
        row["p"] = p
    caption = "Positive: larger for B. Same images and noise on both sides; intervals and p: Student's t, paired"
    caption += comparison.several(len(data)) + comparison.coverages(a, b)
    header = ["gradient", "measure", "difference", "images", "p"]
    return Table(comparison.versus(a, b), header, [_row(row) for row in data], caption, data=data)


def _row(row: Mapping[str, Any]) -> list[str]:
    difference = f"{row['difference']:+.3f} [{row['low']:+.3f}, {row['high']:+.3f}]"
    words = row["measure"].replace("_", " ")
    unit = PRIMARY[NONVANISHING.get(row["measure"], row["measure"])].unit
    return [
        row["condition"],
        words if words.startswith(unit) else f"{words} ({unit})",
        difference,
        str(row["n"]),
        comparison.spell_p(row["p"]),
    ]


def drawn(entries: Sequence[RunRecord], kinds: Sequence[str], times: Sequence[int]) -> Mapping[str, Any]:
    """Cosine by time, a line per classifier and a panel per kind of gradient; a figure per target."""
    result: dict[str, Any] = {}
    for metric, ylabel in AXES.items():
        points: dict[tuple[str, str], list[tuple[float, float, float, float]]] = {}
        for entry in entries:
            for kind in kinds:
                found = [(t, entry.metric(metric, f"{kind}/t={t}")) for t in sorted(times)]
                line = [(float(t), m.value, *m.interval) for t, m in found if m]
                if line:
                    points[entry.model.name, kind] = line
        result[metric.removeprefix("cosine_")] = figures.lines(points, "diffusion time t", ylabel, title(entries[0]))
    return result
