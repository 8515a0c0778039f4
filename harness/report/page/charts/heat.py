"""Heat maps: a metric by classifier and condition, or by classifier and detector."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean

from harness.report import names
from harness.report.page.charts.common import MOST_PANELS, Board, digits, scaled
from harness.report.page.parts import Chart
from harness.report.page.svg.elements import side_by_side
from harness.report.page.svg.rows import HeatRow, heat_map
from harness.report.page.svg.scales import Scale
from harness.report.posthoc.effective import GRADED
from harness.report.table import Table

FEWEST, MOST_COLUMNS, MOST_ROWS = 3, 24, 40
"""Columns from which on a heat map says more than a table, and most columns and rows that can be read."""

Cells = dict[str, float | None]
"""By column the value of a row; None where it has none."""


def corruptions(board: Board) -> Chart | None:
    """Accuracy by corruption, the mean over severities: a panel per method, a row per classifier."""
    first = board.entries[0]
    graded = [m.condition for m in first.metrics if m.name == "accuracy" and GRADED.fullmatch(m.condition)]
    columns = list(dict.fromkeys(c.rpartition("/")[0] for c in graded))
    if len(columns) < FEWEST:
        return None
    cells = []
    for entry in board.entries:
        values: dict[str, list[float]] = {column: [] for column in columns}
        for metric in entry.metrics:
            column = metric.condition.rpartition("/")[0]
            if metric.name == "accuracy" and column in values and (value := scaled(metric)):
                values[column].append(value[0])
        cells.append({column: fmean(numbers) if numbers else None for column, numbers in values.items()})
    panels = list(board.by_method.items())
    more = [name for name, _ in panels[MOST_PANELS:]]
    title = "Accuracy by corruption (%)"
    caption = "Darker is higher; one scale for all panels." + (f" Not drawn: {', '.join(more)}." if more else "")
    drawn = [(name, [(board.models[k], cells[k]) for k in rows]) for name, rows in panels[:MOST_PANELS]]
    return _chart(board, "corruptions", title, caption, columns, drawn)


def detectors(board: Board) -> Chart | None:
    """The first column by classifier and method, for boards with many methods; a panel per condition of that metric."""
    first = board.entries[0]
    name, _ = first.columns[0]
    conditions = [condition for metric, condition in first.columns if metric == name]
    columns = [method for method, rows in board.by_method.items() if rows]
    if len(columns) <= MOST_PANELS:
        return None
    panels = []
    for condition in conditions:
        by_model: dict[str, Cells] = {model: {} for model in sorted(set(board.models))}
        for k, entry in enumerate(board.entries):
            value = scaled(entry.metric(name, condition))
            by_model[board.models[k]][board.methods[k]] = value[0] if value else None
        panels.append((condition, list(by_model.items())))
    heading = names.heading(first, *first.columns[0], bare=True)
    title = f"Classifiers and methods by {heading}"
    return _chart(board, "heat", title, "Darker is higher; one scale for all panels.", columns, panels)


def _chart(
    board: Board,
    kind: str,
    title: str,
    caption: str,
    columns: Sequence[str],
    panels: Sequence[tuple[str, Sequence[tuple[str, Cells]]]],
) -> Chart | None:
    """Heat maps beside one another, with one scale."""
    numbers = [v for _, rows in panels for _, cells in rows for v in cells.values() if v is not None]
    if not numbers:
        return None
    low, high = min(numbers), max(numbers)
    shades = Scale(low, high if high > low else low + 1)
    shown = list(columns)[:MOST_COLUMNS]
    drawings, data = [], []
    for k, (name, rows) in enumerate(panels):
        lines = [HeatRow(model, _tip(model, cells), [cells.get(c) for c in shown]) for model, cells in rows[:MOST_ROWS]]
        id = f"{board.id(kind)}--{k}"
        drawings.append(heat_map(id, name, f"{title}, {name}", shown, lines, shades))
        for model, cells in rows[:MOST_ROWS]:
            values = [cells.get(c) for c in shown]
            data.append([name, model, *(digits(round(v, 2)) if v is not None else "" for v in values)])
    if len(columns) > len(shown):
        caption += f" The first {len(shown)} of {len(columns)} columns."
    if len(longest := max((rows for _, rows in panels), key=len)) > MOST_ROWS:
        caption += f" The first {MOST_ROWS} of {len(longest)} classifiers."
    return Chart(
        board.id(kind), title, side_by_side(drawings, 440), caption, Table(title, ["panel", "classifier", *shown], data)
    )


def _tip(model: str, cells: Cells) -> str:
    """The mean, the lowest and the highest value of a row."""
    values = {column: value for column, value in cells.items() if value is not None and math.isfinite(value)}
    if not values:
        return model
    worst, best = min(values, key=values.__getitem__), max(values, key=values.__getitem__)
    return (
        f"{model}: mean {fmean(values.values()):.1f}, lowest {worst} {values[worst]:.1f}, "
        f"highest {best} {values[best]:.1f}"
    )
