"""Effective robustness of the records of two suites, without and with shift; see `harness.metrics.effective`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
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

GRADED = re.compile(r"(.+)/(\d+)")
"""A condition with a severity."""

SAME = 1e-9
"""Difference of an accuracy recomputed from a sample table and that of its record."""


@dataclass(frozen=True)
class Scatter:
    """Points, line and residuals, a classifier under a method each.

    names: (m,) ``MODEL:METHOD``. clean: a record of the board without shift. shifted: (m,) records of the other one.
    result: see `EffectiveRobustness`. paired: both boards show the same source images. images: their numbers.
    """

    names: Sequence[str]
    clean: RunRecord
    shifted: Sequence[RunRecord]
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
    return Scatter(names, left[0], right, result, paired, (len(ids[0]), len(ids[1])))


def table(points: Scatter, baseline: str = "default") -> Table:
    """Both accuracies and the effective robustness with its interval, by name."""
    result = points.result
    order = sorted(range(len(points.names)), key=lambda k: points.names[k])
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
        f"{title(points.clean)} and {title(points.shifted[0])}. Effective robustness: accuracy under shift minus that "
        f"of the line at the same clean accuracy. Line on the logit scale, fitted to {which}: slope {line.slope:.2f}, "
        f"intercept {line.intercept:.2f}, R2 {line.r2:.2f}. Accuracies are (right + 1/2) / (images + 1). 95 % "
        "intervals "
        + ("over the source images, which both suites share." if points.paired else "over each suite's own images.")
    )
    caption += f" {unreliable}" if (unreliable := caution(result)) else ""
    header = ["row", "clean (%)", "under shift (%)", "effective robustness (points)"]
    return Table("Effective robustness", header, rows, caption, data=data)


def caution(result: EffectiveRobustness) -> str:
    """A sentence on a line that sampling noise makes too flat; empty for a reliable one."""
    if result.reliability >= RELIABLE:
        return ""
    return (
        f"Sampling noise is {1 - result.reliability:.0%} of the spread of the baseline's clean accuracies: the line is "
        "too flat, and the intervals hold the truth less often than in 95 % of samples."
    )


def _row(entry: RunRecord) -> tuple[str, str, str]:
    return entry.model.name, entry.model.sha256, entry.variant


def _largest(records: Sequence[RunRecord]) -> Sequence[RunRecord]:
    """The board with most records, of whole test sets where there are any."""
    groups = boards(records).values()
    return max(groups, key=lambda group: (group[0].status == "complete", len(group)), default=())


def _per_image(entry: RunRecord) -> Mapping[str, float]:
    """By id, the share of right answers under the conditions that the record's mean is over.

    These are all with an accuracy, or those with a severity, or else those that the suite scores; the mean over them
    tells. Raises HarnessError where none has the record's mean.
    """
    try:
        rows = entry.rows("prediction")
    except HarnessError as error:
        words = f"The sample table of {label(entry)} is not beside its record, or damaged. Restore it, or run it again."
        raise HarnessError(words) from error
    correct = rows["prediction"] == rows["label"]
    recorded = entry.metric("mean_accuracy") or entry.metric("accuracy")
    for conditions in _candidates(entry):
        cells = np.isin(rows["condition"], conditions)
        names, place = np.unique(rows["id"][cells].astype(str), return_inverse=True)
        if recorded and len(names):
            right: Floats = np.bincount(place, correct[cells]) / np.bincount(place)
            if abs(float(right.mean()) - recorded.value) < SAME:
                return dict(zip(names.tolist(), right.tolist(), strict=True))
    raise HarnessError(f"The mean accuracy of {label(entry)} is over other conditions than its sample table has.")


def _candidates(entry: RunRecord) -> Iterator[Sequence[str]]:
    every = [m.condition for m in entry.metrics if m.name == "accuracy"]
    yield [condition for condition in every if GRADED.fullmatch(condition)]
    yield every
    # Last, since this imports the suite.
    yield [c.name for c in plugins.suite.configure(entry.suite).plugin.conditions() if c.scored]
