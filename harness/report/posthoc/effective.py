"""Effective robustness of the records of two suites, without and with shift; see `harness.metrics.effective`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from harness import plugins
from harness.base.errors import HarnessError
from harness.evaluation.records.record import RunRecord
from harness.metrics.effective import RELIABLE, EffectiveRobustness, effective_robustness
from harness.metrics.intervals import Floats
from harness.report.boards import boards
from harness.report.names import label, title
from harness.report.table import Table

ALL = "all"
"""The baseline of every row."""


@dataclass(frozen=True)
class Scatter:
    """Points, line and residuals, a classifier under a method each.

    names: (m,) ``MODEL:METHOD``. models: (m,) the classifiers alone. clean, shifted: a record of either board.
    result: see `EffectiveRobustness`. paired: both boards show the same source images. images: their numbers.
    """

    names: Sequence[str]
    models: Sequence[str]
    clean: RunRecord
    shifted: RunRecord
    result: EffectiveRobustness
    paired: bool
    images: tuple[int, int]


def scatter(clean: Sequence[RunRecord], shifted: Sequence[RunRecord], baseline: str = "default") -> Scatter:
    """Accuracy under shift against clean accuracy, for the rows that both suites' largest boards of whole sets have.

    baseline: the rows that the line is fitted to: those under this test-time method, or "all".
    Raises HarnessError where the boards share no row, `Undefined` for fewer than three baseline rows.
    """
    sides = [{_row(entry): entry for entry in _largest(records)} for records in (clean, shifted)]
    shared = sorted(sides[0].keys() & sides[1].keys())
    if not shared:
        raise HarnessError("The two suites share no classifier under the same method. Run the same ones on both.")
    left, right = ([side[row] for row in shared] for side in sides)
    tables = [[_per_image(entry) for entry in entries] for entries in (left, right)]
    ids = [sorted(set.intersection(*(set(table) for table in side))) for side in tables]
    if not all(ids):
        raise HarnessError("The records of one suite share no image. Run them on the same images.")
    paired = ids[0] == ids[1]
    answers = [
        np.array([[table[name] for table in side] for name in names]) for side, names in zip(tables, ids, strict=True)
    ]
    chosen = np.array([baseline in (ALL, entry.method) for entry in left])
    result = effective_robustness(answers[0], answers[1], chosen, paired=paired)
    names = [label(entry) for entry in left]
    models = [entry.model.name for entry in left]
    return Scatter(names, models, left[0], right[0], result, paired, (len(ids[0]), len(ids[1])))


def table(points: Scatter, baseline: str = "default") -> Table:
    """Both accuracies and the effective robustness with its interval, best first."""
    result = points.result
    order = sorted(range(len(points.names)), key=lambda k: (-result.residuals[k], points.names[k]))
    rows, data = [], []
    for k in order:
        low, high = result.intervals[k]
        residual, clean, shifted = (float(values[k]) for values in (result.residuals, result.clean, result.shifted))
        name = points.names[k] + (" (baseline)" if result.baseline[k] else "")
        percent = [f"{100 * value:.1f}" for value in (clean, shifted)]
        rows.append([name, *percent, f"{100 * residual:+.1f} [{100 * low:+.1f}, {100 * high:+.1f}]"])
        numbers = {"clean": clean, "shifted": shifted, "effective_robustness": residual, "low": low, "high": high}
        data.append({"row": points.names[k], **numbers, "baseline": bool(result.baseline[k])})
    line = result.line
    which = "all rows" if baseline == ALL else f"the {int(result.baseline.sum())} rows under '{baseline}'"
    caption = (
        f"{title(points.clean)} and {title(points.shifted)}. Effective robustness: accuracy under shift minus that of "
        f"the line at the same clean accuracy. Line on the logit scale, fitted to {which}: slope {line.slope:.2f}, "
        f"intercept {line.intercept:.2f}, R2 {line.r2:.2f}. Accuracies are (right + 1/2) / (images + 1). 95 % "
        "intervals "
        + ("over the source images, which both suites share." if points.paired else "over each suite's own images.")
    )
    if result.reliability < RELIABLE:
        caption += (
            f" Sampling noise is {1 - result.reliability:.0%} of the spread of the baseline's clean accuracies: the "
            "line is too flat, and the intervals hold the truth less often than in 95 % of samples."
        )
    header = ["row", "clean (%)", "under shift (%)", "effective robustness (points)"]
    return Table("Effective robustness", header, rows, caption, data=data)


def _row(entry: RunRecord) -> tuple[str, str, str]:
    return entry.model.name, entry.model.sha256, entry.variant


def _largest(records: Sequence[RunRecord]) -> Sequence[RunRecord]:
    """The board with most records, of whole test sets where there are any."""
    groups = boards(records).values()
    return max(groups, key=lambda group: (group[0].status == "complete", len(group)), default=())


def _per_image(entry: RunRecord) -> Mapping[str, float]:
    """By id, the share of right answers under the scored conditions."""
    rows = entry.rows("prediction")
    scored = [c.name for c in plugins.suite.configure(entry.suite).plugin.conditions() if c.scored]
    cells = np.isin(rows["condition"], scored)
    names, place = np.unique(rows["id"][cells].astype(str), return_inverse=True)
    right: Floats = np.bincount(place, (rows["prediction"] == rows["label"])[cells]) / np.bincount(place)
    return dict(zip(names.tolist(), right.tolist(), strict=True))
