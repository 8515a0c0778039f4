"""Effective robustness: accuracy under shift against clean accuracy, with the line that most classifiers follow."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from harness.base.errors import HarnessError
from harness.evaluation.records.record import RunRecord
from harness.metrics.effective import EffectiveRobustness, effective_robustness
from harness.metrics.intervals import Floats, Undefined
from harness.report import names
from harness.report.boards import boards
from harness.report.colours import Style
from harness.report.page.charts.common import MOST_POINTS, Board, board_of, digits
from harness.report.page.charts.heat import FEWEST, GRADED
from harness.report.page.parts import Chart
from harness.report.page.svg.axes import Frame
from harness.report.page.svg.elements import element, group, joined
from harness.report.page.svg.marks import mark, path
from harness.report.page.svg.scales import fit
from harness.report.ranks.board_ranks import Ranks
from harness.report.table import Table

MOST_PAIRS = 3
"""Pairs of boards that have a chart."""

SAME = 1e-9
"""Difference of an accuracy recomputed from a sample table and that of its record."""

Row = tuple[str, str, str]
"""Classifier, its hash, and method: what a row of two boards has in common."""


@dataclass(frozen=True)
class SharedRows:
    """Rows of two boards. board: that under shift, of the shared rows in the order of `result`."""

    clean: RunRecord
    board: Board
    result: EffectiveRobustness


def robustness(records: Sequence[RunRecord], looks: Mapping[str, Style] | None = None) -> list[Chart]:
    """A chart for each two boards of one data set, of which one is clean and one has corruptions.

    Pairs without three rows under "default", or without their sample tables, are left out.
    """
    charts: list[Chart] = []
    for clean, shifted in _pairs(records):
        try:
            charts.append(_chart(_scatter(clean, shifted, looks), len(charts)))
        except (HarnessError, Undefined):
            continue
        if len(charts) == MOST_PAIRS:
            break
    return charts


def _pairs(records: Sequence[RunRecord]) -> Iterator[tuple[Sequence[RunRecord], Sequence[RunRecord]]]:
    whole = [entries for entries in boards(records).values() if entries[0].status == "complete"]
    for clean in whole:
        conditions = {m.condition for m in clean[0].metrics if m.name == "accuracy"}
        if len(conditions) != 1 or GRADED.fullmatch(conditions.pop()):
            continue
        for shifted in whole:
            several = len(_graded(shifted[0])) >= FEWEST and shifted[0].metric("mean_accuracy", "mean")
            if several and shifted[0].dataset == clean[0].dataset:
                yield clean, shifted


def _graded(entry: RunRecord) -> list[str]:
    """The conditions with a severity."""
    return [m.condition for m in entry.metrics if m.name == "accuracy" and GRADED.fullmatch(m.condition)]


def _scatter(clean: Sequence[RunRecord], shifted: Sequence[RunRecord], looks: Mapping[str, Style] | None) -> SharedRows:
    sides = [{_row(entry): entry for entry in entries} for entries in (clean, shifted)]
    shared = sorted(sides[0].keys() & sides[1].keys())
    pairs = [(sides[0][row], sides[1][row]) for row in shared]
    if len(pairs) < FEWEST:
        raise HarnessError("the boards share too few rows")
    across = [_per_image(a, [m.condition for m in a.metrics if m.name == "accuracy"], "accuracy") for a, _ in pairs]
    down = [_per_image(b, _graded(b), "mean_accuracy") for _, b in pairs]
    ids = [sorted(set.intersection(*(set(row) for row in side))) for side in (across, down)]
    arrays = [
        np.array([[row[i] for row in side] for i in kept]) for side, kept in zip((across, down), ids, strict=True)
    ]
    baseline = np.array([a.method == "default" for a, _ in pairs])
    result = effective_robustness(arrays[0], arrays[1], baseline, paired=ids[0] == ids[1])
    entries = [b for _, b in pairs]
    return SharedRows(pairs[0][0], board_of(entries, Ranks(entries[0].columns[0]), looks), result)


def _row(entry: RunRecord) -> Row:
    return entry.model.name, entry.model.sha256, entry.variant


def _per_image(entry: RunRecord, conditions: Sequence[str], metric: str) -> Mapping[str, float]:
    """By id, the share of right answers under some conditions; HarnessError where their mean is not the record's."""
    rows = entry.rows("prediction")
    cells = np.isin(rows["condition"], conditions)
    ids, place = np.unique(rows["id"][cells].astype(str), return_inverse=True)
    right = (rows["prediction"] == rows["label"])[cells]
    shares: Floats = np.bincount(place, right) / np.bincount(place)
    recorded = entry.metric(metric)
    if recorded is None or abs(float(shares.mean()) - recorded.value) > SAME:
        raise HarnessError("the board's mean is over other conditions")
    return dict(zip(ids.tolist(), shares.tolist(), strict=True))


def _chart(scatter: SharedRows, place: int) -> Chart:
    """Points, the line, and the residuals as tooltips and data."""
    board, result = scatter.board, scatter.result
    x, y = 100 * result.clean, 100 * result.shifted
    frame = Frame(fit(x, kind="logit"), fit(y, kind="logit"), width=440, height=360)
    grid = np.linspace(frame.x.low, frame.x.high, MOST_POINTS // 2)
    line = frame.points(grid, 100 * result.line(grid / 100))
    points = []
    data = []
    for k, (low, high) in enumerate(result.intervals):
        residual = 100 * float(result.residuals[k])
        tip = f"{board.labels[k]}: {x[k]:.1f} % clean, {y[k]:.1f} % under shift, {residual:+.1f} points to the line"
        points.append(group(mark(*frame.at(x[k], y[k]), board.look(k)), tip=tip))
        data.append([board.labels[k], *map(digits, (x[k], y[k], residual, 100 * low, 100 * high))])
    titles = [names.title(entry) for entry in (scatter.clean, board.entries[0])]
    title = f"Effective robustness: {titles[1]} against {titles[0]}"
    fitted = element("path", d=path(line), stroke="var(--muted)", fill="none", stroke_width=1.5)
    id = board.id(f"robustness-{place}")
    labels = ("accuracy without shift (%)", "accuracy under shift (%)")
    svg = board.method_legend() + frame.draw(f"{id}--0", "", title, *labels, fitted, joined(points))
    caption = (
        f"Line: fitted to the {int(result.baseline.sum())} rows under default, on logit scales (slope "
        f"{result.line.slope:.2f}, R² {result.line.r2:.2f}). Effective robustness is the distance above it, in points "
        "of accuracy; its intervals, at 95 % over test images, are in the data."
    )
    header = ["row", *labels, "effective robustness (points)", "low", "high"]
    legend = board.legend(range(len(board.entries)), lines=False)
    return Chart(id, title, svg + legend, caption, Table(title, header, data))
