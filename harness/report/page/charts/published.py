"""Tables of papers as charts: marked as published, in no classifier's colour; beside them what is measured of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

from markupsafe import Markup

from harness.report.colours import NEUTRAL, SHAPES, Style
from harness.report.page.charts.common import INTERVALS, digits, scaled
from harness.report.page.parts import Chart, slug
from harness.report.page.svg.axes import legend
from harness.report.page.svg.elements import joined
from harness.report.page.svg.marks import interval, mark
from harness.report.page.svg.rows import Row, across, row_chart
from harness.report.page.svg.scales import Scale, fit
from harness.report.table import Table
from harness.types import Metric

MOST_ROWS = 40
"""Rows of a chart, the first ones of a table."""


Measured = Mapping[tuple[str, str], Metric]
"""By row and column of a table, the metric that measures the same."""


def published(tables: Sequence[Table], measured: Sequence[Measured] = ()) -> list[Chart]:
    """A chart for every table whose numbers share a unit, percent: a row per row, a mark per column.

    tables: as `harness.report.published.paper_tables` gives them; the first column names the rows.
    measured: for each table, in their order, what is measured of it: shown below, in colour and with intervals.
    """
    beside = [*measured, *({} for _ in tables)]
    charts = (_chart(place, table, beside[place]) for place, table in enumerate(tables) if "(%)" in table.title)
    return [chart for chart in charts if chart is not None]


def _chart(place: int, table: Table, measured: Measured) -> Chart | None:
    columns = list(table.header)[1 : 1 + len(SHAPES)]
    values = [(row[0], [_number(cell) for cell in row[1 : 1 + len(columns)]]) for row in table.rows[:MOST_ROWS]]
    found = {key: value for key, metric in measured.items() if (value := scaled(metric))}
    numbers = [v for _, cells in values for v in cells if v is not None]
    if not numbers:
        return None
    scale = across(fit([*numbers, *(v for ends in found.values() for v in ends)], least=0.0, most=100.0))
    looks = [Style(NEUTRAL, 0, k) for k in range(len(columns))]
    rows, data = [], []
    for name, cells in values:
        own = [found.get((name, column)) for column in columns]
        printed = [f"{column} {v:g}" for column, v in zip(columns, cells, strict=True) if v is not None]
        here = [f"{column} {v[0]:.1f}" for column, v in zip(columns, own, strict=True) if v is not None]
        tip = f"{name}, published: {', '.join(printed)}" + (f"; measured: {', '.join(here)}" if here else "")
        rows.append(Row(name, tip, partial(_marks, scale, cells, own, looks)))
        data += [[name, column, *map(digits, value)] for column, value in zip(columns, own, strict=True) if value]
    id = slug("published", "chart", str(place + 1))
    key = legend(list(zip(columns, looks, strict=True)), lines=False)
    svg = key + row_chart(f"{id}--0", table.title, table.title, rows, scale, "published (%)")
    caption = ["Printed in the paper, not measured here, and never ranked with measured numbers.", table.caption]
    if data:
        caption[0] = f"Grey: printed in the paper. Coloured: measured here, below. {INTERVALS}"
        header = ["row", "column", "measured (%)", "low", "high"]
        return Chart(id, table.title, svg, " ".join(filter(None, caption)), Table(table.title, header, data))
    return Chart(id, table.title, svg, " ".join(filter(None, caption)), table)


def _number(cell: str) -> float | None:
    try:
        return float(cell)
    except ValueError:
        return None


def _marks(
    scale: Scale,
    values: Sequence[float | None],
    measured: Sequence[tuple[float, float, float] | None],
    looks: Sequence[Style],
    y: float,
) -> Markup:
    """Published numbers; below them the measured ones with intervals."""
    printed = [mark(scale(v), y, look) for v, look in zip(values, looks, strict=True) if v is not None]
    here = []
    for value, look in zip(measured, looks, strict=True):
        if value is not None:
            x, low, high = map(scale, value)
            here += [interval(low, high, y + 9, replace(look, colour=0)), mark(x, y + 9, replace(look, colour=0))]
    return joined([*printed, *here])
