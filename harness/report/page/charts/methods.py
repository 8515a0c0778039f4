"""Boards of many rows: the first column as a row per method, with a mark per classifier."""

from __future__ import annotations

from functools import partial

from markupsafe import Markup

from harness.report import names
from harness.report.colours import SHAPES, Style
from harness.report.page.charts.common import Board, digits, scaled
from harness.report.page.charts.ranking import MOST_ROWS
from harness.report.page.parts import Chart
from harness.report.page.svg.axes import legend
from harness.report.page.svg.elements import joined
from harness.report.page.svg.marks import mark
from harness.report.page.svg.rows import Row, across, row_chart
from harness.report.page.svg.scales import Scale, fit
from harness.report.table import Table

Values = dict[str, float]
"""By classifier, as tables name it, the value that a chart shows."""


def methods(board: Board) -> Chart | None:
    """The first column by method, best first, with a mark per classifier; None where `ranking` shows every row."""
    first = board.entries[0]
    column = first.columns[0]
    if len(board.entries) <= MOST_ROWS:
        return None
    cells: dict[str, Values] = {}
    for k, entry in enumerate(board.entries):  # sorted: the best row of each method comes first
        if value := scaled(entry.metric(*column)):
            cells.setdefault(board.methods[k], {})[board.models[k]] = value[0]
    if not cells:
        return None
    looks = {board.models[k]: board.line(k) for k in range(len(board.entries))}
    looks = {name: Style(s.colour, s.dash, k % len(SHAPES)) for k, (name, s) in enumerate(sorted(looks.items()))}
    heading = names.heading(first, *column)
    scale = across(fit(value for values in cells.values() for value in values.values()))
    shown = list(cells.items())[:MOST_ROWS]
    rows = [Row(name, _tip(name, values), partial(_marks, scale, values, looks)) for name, values in shown]
    title = f"Methods by {heading}"
    svg = row_chart(board.id("methods"), title, names.title(first), rows, scale, heading)
    data = [[name, *(digits(values[m]) if m in values else "" for m in looks)] for name, values in shown]
    caption = "A mark per classifier; methods by their best one. Intervals are in the table of the board."
    table = Table(title, ["method", *looks], data)
    return Chart(board.id("methods"), title, svg + legend(list(looks.items()), lines=False), caption, table)


def _tip(name: str, values: Values) -> str:
    """The best and the worst classifier of a method."""
    ends = list(values.items())
    return f"{name}: {' to '.join(f'{model} {value:.1f}' for model, value in dict([ends[0], ends[-1]]).items())}"


def _marks(scale: Scale, values: Values, looks: dict[str, Style], y: float) -> Markup:
    return joined(mark(scale(value), y, looks[model]) for model, value in values.items())
