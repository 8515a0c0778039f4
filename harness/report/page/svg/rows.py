"""Charts with a row per name: the name stands above its marks, so that long names fit on a phone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from harness.report.page.svg.elements import drawing, element, fitted, group, number, text
from harness.report.page.svg.scales import Scale, tick_text

WIDTH = 440.0
"""Units across; about the pixels of the drawing."""

STEP = 30.0
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
    lines += "".join(f"M0 {number(TOP + STEP * k + 16)}H{number(WIDTH)}" for k in range(len(rows)))
    parts = [
        group(
            text(
                row.name,
                0,
                TOP + STEP * k + 8,
                font_weight="700" if row.strong else None,
                font_size=fitted(row.name, WIDTH),
            ),
            row.marks(TOP + STEP * k + 16),
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

PITCH = 35.0
"""Units from row to row of a heat map."""


def heat_map(
    id: str, title: str, description: str, columns: Sequence[str], rows: Sequence[HeatRow], shades: Scale
) -> Markup:
    """Cells with their values, the stronger the higher. shades: from values to opacity, with any ends."""
    opacity = shades.between(0.0, STRONGEST)
    wide = WIDTH / max(len(columns), 1)
    head = 18 + 6.4 * max((min(len(c), 40) for c in columns), default=0)
    labels = [
        text(c, 0, 0, transform=f"translate({number(wide * (k + 0.5) + 4)} {number(head - 4)})rotate(-90)")
        for k, c in enumerate(columns)
    ]
    parts = []
    for k, row in enumerate(rows):
        y = head + PITCH * k
        parts.append(
            group(
                text(row.name, 0, y + 9, font_size=fitted(row.name, WIDTH)),
                _cells(row.values, y + 13, wide, opacity),
                tip=row.tip,
            )
        )
    heading = text(title, 0, 11, font_weight="600")
    return drawing(id, title, description, (WIDTH, head + PITCH * len(rows)), heading, *labels, *parts)


def _cells(values: Sequence[float | None], y: float, wide: float, opacity: Scale) -> Markup:
    """The cells of a row: those of one shade as one path, and the values without decimals as one text."""
    shades: dict[str, list[str]] = {}
    texts = []
    for k, value in enumerate(values):
        if value is None:
            continue
        shades.setdefault(f"{opacity(value):.2f}", []).append(f"M{number(wide * k)} {number(y)}h{number(wide - 1)}v15H")
        shades[f"{opacity(value):.2f}"].append(f"{number(wide * k)}z")
        texts.append(element("tspan", f"{value:.0f}", x=wide * (k + 0.5) - 0.5))
    filled = (element("path", d="".join(cells), fill_opacity=shade) for shade, cells in shades.items())
    size = 10 if wide < 26 else 11
    values_text = element("text", *texts, y=y + 11.5, text_anchor="middle", font_size=size)
    return element("g", *filled, fill="var(--series-1)") + values_text
