"""Tables of papers as charts: marked as published, in no classifier's colour."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from markupsafe import Markup

from harness.report.colours import NEUTRAL, SHAPES, Style
from harness.report.page.parts import Chart, slug
from harness.report.page.svg.axes import legend
from harness.report.page.svg.elements import joined
from harness.report.page.svg.marks import mark
from harness.report.page.svg.rows import Row, across, row_chart
from harness.report.page.svg.scales import Scale, fit
from harness.report.table import Table

MOST_ROWS = 40
"""Rows of a chart, the first ones of a table."""


def published(tables: Sequence[Table]) -> list[Chart]:
    """A chart for every table whose numbers share a unit, percent: a row per row, a mark per column.

    tables: as `harness.report.published.paper_tables` gives them; the first column names the rows.
    """
    charts = (_chart(place, table) for place, table in enumerate(tables, 1) if "(%)" in table.title)
    return [chart for chart in charts if chart is not None]


def _chart(place: int, table: Table) -> Chart | None:
    columns = list(table.header)[1 : 1 + len(SHAPES)]
    values = [(row[0], [_number(cell) for cell in row[1 : 1 + len(columns)]]) for row in table.rows[:MOST_ROWS]]
    numbers = [v for _, cells in values for v in cells if v is not None]
    if not numbers:
        return None
    scale = across(fit(numbers, least=0.0, most=100.0))
    looks = [Style(NEUTRAL, 0, k) for k in range(len(columns))]
    rows = []
    for name, cells in values:
        shown = [f"{column} {v:g}" for column, v in zip(columns, cells, strict=True) if v is not None]
        rows.append(Row(name, f"{name}, published: {', '.join(shown)}", partial(_marks, scale, cells, looks)))
    id = slug("published", "chart", str(place))
    key = legend(list(zip(columns, looks, strict=True)), lines=False)
    svg = key + row_chart(f"{id}--0", table.title, table.title, rows, scale, "published (%)")
    caption = (
        f"Printed in the paper, not measured here, and never ranked with measured numbers. {table.caption}".strip()
    )
    return Chart(id, table.title, svg, caption, table)


def _number(cell: str) -> float | None:
    try:
        return float(cell)
    except ValueError:
        return None


def _marks(scale: Scale, values: Sequence[float | None], looks: Sequence[Style], y: float) -> Markup:
    return joined(mark(scale(v), y, look) for v, look in zip(values, looks, strict=True) if v is not None)
