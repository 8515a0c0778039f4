"""Rankings: each row's value with its interval, and its set of ranks."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

from markupsafe import Markup

from harness.report import names
from harness.report.colours import Style
from harness.report.page.charts.common import INTERVALS, Board, digits, scaled
from harness.report.page.parts import Chart
from harness.report.page.svg.marks import interval, line, mark
from harness.report.page.svg.rows import Row, across, row_chart
from harness.report.page.svg.scales import Scale, fit
from harness.report.ranks.board_ranks import SEEDS, Ranks
from harness.report.table import Table

MOST_ROWS, MOST_DRAWN = 60, 24
"""Rows of a board up to which a chart has one per record: of more there is `methods`; and rows that a chart draws."""


def ranking(board: Board) -> Chart | None:
    """The first column of each row, with its interval; None for boards of more than `MOST_ROWS` rows."""
    first = board.entries[0]
    column = first.columns[0]
    values = [scaled(entry.metric(*column)) for entry in board.entries]
    if not any(values) or len(values) > MOST_ROWS:
        return None
    heading = names.heading(first, *column)
    scale = across(fit(v for value in values if value for v in value))
    rows = []
    for k, value in enumerate(values[:MOST_DRAWN]):
        if value is not None:
            rank = f", rank {board.ranks.spell(k)}" if board.ranks.set_of(k) else ""
            tip = f"{board.labels[k]}: {names.spell(board.entries[k].metric(*column))}{rank}"
            strong = board.ranks.is_top(k) and not board.ranks.undecided
            rows.append(Row(board.labels[k], tip, partial(_dot, scale, value, board.look(k)), strong))
    title = f"Ranking by {heading}"
    svg = board.method_legend() + row_chart(board.id("ranking"), title, names.title(first), rows, scale, heading)
    data = [[board.labels[k], *map(digits, v)] for k, v in enumerate(values) if v]
    caption = f"{INTERVALS} A colour per classifier.{_ranked(board.ranks)}{_left(len(values))}"
    return Chart(board.id("ranking"), title, svg, caption, Table(title, ["row", heading, "low", "high"], data))


def _ranked(ranks: Ranks) -> str:
    """A sentence on the ranks of the rows; empty without rank sets."""
    if not ranks.sets:
        return ""
    if ranks.undecided:
        return f" Each row may have any rank from 1 to {ranks.lowest}, at 95 %: there is no chart of ranks."
    return _bold(ranks, range(len(ranks.sets)))


def _bold(ranks: Ranks, rows: Iterable[int]) -> str:
    """The meaning of bold names, where one of the rows has one."""
    return " Bold: may be the best." if any(map(ranks.is_top, rows)) else ""


def _dot(scale: Scale, value: tuple[float, float, float], style: Style, y: float) -> Markup:
    """A mark with its interval."""
    x, low, high = map(scale, value)
    return interval(low, high, y, style) + mark(x, y, style)


def rank_diagram(board: Board) -> Chart | None:
    """The set of ranks of each row as a bar, over all ranks of the board; None without sets, or where all are full."""
    sets = [(k, ends) for k, ends in enumerate(board.ranks.sets) if ends]
    if not sets or board.ranks.undecided:
        return None
    count, total = len(sets), board.ranks.lowest
    scale = across(Scale(0.5, total + 0.5))
    rows = []
    for k, (best, worst) in sets[:MOST_DRAWN]:
        tip = f"{board.labels[k]}: rank {board.ranks.spell(k)} of {total}"
        ends = (scale(best - 0.35), scale(worst + 0.35))
        rows.append(Row(board.labels[k], tip, partial(_bar, ends, board.line(k)), board.ranks.is_top(k)))
    title = f"Ranks by {names.heading(board.entries[0], *board.ranks.column)}"
    bold = _bold(board.ranks, [k for k, _ in sets[:MOST_DRAWN]])
    sentences = f"All true ranks lie in these sets at once with 95 % confidence.{bold} {SEEDS}"
    caption = f"{sentences}{_left(count)} {board.ranks.without}".rstrip()
    svg = row_chart(board.id("ranks"), title, names.title(board.entries[0]), rows, scale, "rank")
    data = [[board.labels[k], str(best), str(worst)] for k, (best, worst) in sets]
    return Chart(board.id("ranks"), title, svg, caption, Table(title, ["row", "best rank", "worst rank"], data))


def _left(count: int) -> str:
    """A sentence where not all rows are drawn."""
    return f" The first {MOST_DRAWN} of {count} rows; the data below have all." if count > MOST_DRAWN else ""


def _bar(ends: tuple[float, float], style: Style, y: float) -> Markup:
    """A thick line over a set of ranks."""
    return line([(ends[0], y), (ends[1], y)], style, width=7)
