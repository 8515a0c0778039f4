"""Charts with a row per name: the name stands above its marks, so that long names fit on a phone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from harness.report.page.svg.elements import drawing, element, group, joined, number, text
from harness.report.page.svg.scales import Scale, tick_text

WIDTH = 480.0
"""Units across; about the pixels of the drawing."""

STEP = 27.0
"""Units from row to row."""

TOP = 14.0


@dataclass(frozen=True)
class Row:
    """A row: its name, its tooltip, and its marks drawn at a height y in pixels."""

    name: str
    tip: str
    marks: Callable[[float], object]
    strong: bool = False


def row_chart(id: str, title: str, description: str, rows: Sequence[Row], scale: Scale, label: str) -> Markup:
    """Rows over one x axis, which is drawn below. scale: in pixels of the drawing, see `across`."""
    bottom = TOP + STEP * len(rows)
    ticks = scale.ticks(8)
    lines = "".join(f"M{number(scale(v))} {number(TOP)}V{number(bottom)}" for v in ticks)
    parts = [
        group(
            text(row.name, 0, TOP + STEP * k + 8, font_weight="700" if row.strong else None),
            row.marks(TOP + STEP * k + 17),
            tip=row.tip,
        )
        for k, row in enumerate(rows)
    ]
    axis = [text(t, scale(v), bottom + 13, anchor="middle") for v, t in zip(ticks, tick_text(ticks), strict=True)]
    return drawing(
        id,
        title,
        description,
        (WIDTH, bottom + 36),
        element("path", d=lines, stroke="var(--line)", fill="none") if lines else "",
        *parts,
        group(*axis, fill="var(--muted)"),
        text(label, WIDTH / 2, bottom + 30, anchor="middle"),
    )


def across(scale: Scale) -> Scale:
    """A scale over the width of a row."""
    return scale.between(8, WIDTH - 10)


@dataclass(frozen=True)
class HeatRow:
    """A row of a heat map: its name, its tooltip, and a value per column; None where there is none."""

    name: str
    tip: str
    values: Sequence[float | None]


STRONGEST = 0.5
"""Opacity of the cell with the highest value: text in `--ink` stays readable on it, on white and on black."""


def heat_map(
    id: str, title: str, description: str, columns: Sequence[str], rows: Sequence[HeatRow], shades: Scale
) -> Markup:
    """Cells with their values, the stronger the higher. shades: from values to opacity, with any ends."""
    opacity = shades.between(0.0, STRONGEST)
    wide = WIDTH / max(len(columns), 1)
    head = 18 + 5.6 * max((min(len(c), 40) for c in columns), default=0)
    labels = [
        text(c, 0, 0, transform=f"translate({number(wide * (k + 0.5) + 4)} {number(head - 4)})rotate(-90)")
        for k, c in enumerate(columns)
    ]
    parts = []
    for k, row in enumerate(rows):
        y = head + 31 * k
        cells = joined(_cell(wide * j, y + 13, wide, v, opacity) for j, v in enumerate(row.values) if v is not None)
        parts.append(group(text(row.name, 0, y + 9), element("g", cells, text_anchor="middle"), tip=row.tip))
    heading = text(title, 0, 11, font_weight="600")
    return drawing(id, title, description, (WIDTH, head + 31 * len(rows) + 4), heading, *labels, *parts)


def _cell(x: float, y: float, wide: float, value: float, opacity: Scale) -> Markup:
    """One cell: its colour, and its value without decimals."""
    d = f"M{number(x)} {number(y)}h{number(wide - 1)}v15h-{number(wide - 1)}z"
    filled = Markup(f'<path d="{d}" fill="var(--series-1)" fill-opacity="{opacity(value):.2f}"/>')
    return filled + element("text", f"{value:.0f}", x=x + wide / 2 - 0.5, y=y + 11.5)
