"""Effective robustness: accuracy under shift against clean accuracy, with the line that most classifiers follow."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from harness.base.errors import HarnessError
from harness.evaluation.records.record import RunRecord
from harness.metrics.intervals import Undefined
from harness.report import names
from harness.report.boards import boards
from harness.report.colours import Style
from harness.report.page.charts.common import MOST_POINTS, board_of, digits
from harness.report.page.charts.heat import FEWEST
from harness.report.page.parts import Chart
from harness.report.page.svg.axes import Frame
from harness.report.page.svg.elements import element, group, joined
from harness.report.page.svg.marks import mark, path
from harness.report.page.svg.scales import fit
from harness.report.posthoc.effective import GRADED, Scatter, caution, scatter
from harness.report.ranks.board_ranks import Ranks
from harness.report.table import Table

MOST_PAIRS = 3
"""Pairs of boards that have a chart."""


def robustness(records: Sequence[RunRecord], looks: Mapping[str, Style] | None = None) -> tuple[list[Chart], list[str]]:
    """A chart for each two boards of one data set, of which one is clean and one has corruptions; and notes.

    Notes are a sentence for each pair of boards without a chart, with the reason.
    """
    charts: list[Chart] = []
    notes = []
    for clean, shifted in _pairs(records):
        pair = f"{names.title(shifted[0])} against {names.title(clean[0])}"
        if len(charts) == MOST_PAIRS:
            notes.append(f"No chart of {pair}: there are {MOST_PAIRS} already; see harness effective.")
            continue
        try:
            charts.append(_chart(scatter(clean, shifted), looks, len(charts)))
        except (HarnessError, Undefined) as reason:
            notes.append(f"No chart of effective robustness of {pair}: {reason}")
    return charts, notes


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


def _chart(points: Scatter, looks: Mapping[str, Style] | None, place: int) -> Chart:
    """Points, the line, and the residuals as tooltips and data."""
    board, result = board_of(points.shifted, Ranks(points.shifted[0].columns[0]), looks), points.result
    x, y = 100 * result.clean, 100 * result.shifted
    frame = Frame(fit(x, kind="logit"), fit(y, kind="logit"), width=440, height=360)
    grid = np.linspace(frame.x.low, frame.x.high, MOST_POINTS // 2)
    line = frame.points(grid, 100 * result.line(grid / 100))
    marks = []
    data = []
    for k, (low, high) in enumerate(result.intervals):
        residual = 100 * float(result.residuals[k])
        tip = f"{board.labels[k]}: {x[k]:.1f} % clean, {y[k]:.1f} % under shift, {residual:+.1f} points to the line"
        marks.append(group(mark(*frame.at(x[k], y[k]), board.look(k)), tip=tip))
        data.append([board.labels[k], *map(digits, (x[k], y[k], residual, 100 * low, 100 * high))])
    titles = [names.title(entry) for entry in (points.clean, board.entries[0])]
    title = f"Effective robustness: {titles[1]} against {titles[0]}"
    fitted = element("path", d=path(line), stroke="var(--muted)", fill="none", stroke_width=1.5)
    id = board.id(f"robustness-{place}")
    labels = ("accuracy without shift (%)", "accuracy under shift (%)")
    svg = board.method_legend() + frame.draw(f"{id}--0", "", title, *labels, fitted, joined(marks))
    caption = (
        f"Line: fitted to the {int(result.baseline.sum())} rows under default, on logit scales (slope "
        f"{result.line.slope:.2f}, R² {result.line.r2:.2f}). Effective robustness is the distance above it, in points "
        "of accuracy; its intervals, at 95 % over test images, are in the data. "
        f"{caution(result)}"
    ).rstrip()
    header = ["row", *labels, "effective robustness (points)", "low", "high"]
    legend = board.legend(range(len(board.entries)), lines=False)
    return Chart(id, title, svg + legend, caption, Table(title, header, data))
