"""Axes: a frame with ticks, grid lines and labels."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from harness.report.colours import Style
from harness.report.page.svg.elements import drawing, element, fitted, group, joined, number, text
from harness.report.page.svg.marks import line, mark
from harness.report.page.svg.scales import Scale, tick_text

RIGHT = 14.0
"""Units right of the axes: half of the last tick's text."""


@dataclass(frozen=True)
class Frame:
    """The place of a chart with two axes in a drawing.

    x, y: scales, in any pixels. width, height: of the drawing. ticks: at most so many along x and y.
    """

    x: Scale
    y: Scale
    width: float = 320.0
    height: float = 250.0
    left: float = 52.0
    bottom: float = 38.0
    top: float = 22.0
    ticks: tuple[int, int] = (7, 6)

    @property
    def across(self) -> Scale:
        """The x scale in pixels of the drawing."""
        return self.x.between(self.left, self.width - RIGHT)

    @property
    def up(self) -> Scale:
        """The y scale in pixels of the drawing."""
        return self.y.between(self.height - self.bottom, self.top)

    def at(self, x: float, y: float) -> tuple[float, float]:
        """The pixels of a point."""
        return self.across(x), self.up(y)

    def points(self, xs: Iterable[float], ys: Iterable[float]) -> list[tuple[float, float]]:
        """The pixels of points; those that are not finite are left out."""
        pairs = zip(map(float, xs), map(float, ys), strict=True)
        return [self.at(x, y) for x, y in pairs if math.isfinite(x) and math.isfinite(y)]

    def draw(self, id: str, title: str, description: str, xlabel: str, ylabel: str, *marks: object) -> Markup:
        """The drawing: title, which may be empty, axes with labels, and marks on top."""
        size = (self.width, self.height)
        heading = text(title, 0, 11, font_weight="600", font_size=fitted(title, self.width)) if title else ""
        drawn = (heading, self.axes(xlabel, ylabel), *marks)
        return drawing(id, title or description, description, size, *drawn, above=0 if title else self.top - 8)

    def axes(self, xlabel: str, ylabel: str) -> Markup:
        """Grid lines, ticks and labels of both axes."""
        across, up = self.across, self.up
        bottom, right = self.height - self.bottom, self.width - RIGHT
        x, y = across.ticks(self.ticks[0]), up.ticks(self.ticks[1]) if self.ticks[1] else []
        grid = "".join(f"M{number(self.left)} {number(up(v))}H{number(right)}" for v in y)
        grid += "".join(f"M{number(across(v))} {number(self.top)}V{number(bottom)}" for v in x)
        middle = (self.top + bottom) / 2
        return joined(
            [
                element("path", d=grid, stroke="var(--line)", fill="none") if grid else "",
                group(
                    *(text(t, across(v), bottom + 16, anchor="middle") for v, t in zip(x, tick_text(x), strict=True)),
                    *(text(t, self.left - 5, up(v) + 4, anchor="end") for v, t in zip(y, tick_text(y), strict=True)),
                    fill="var(--muted)",
                ),
                text(xlabel, (self.left + right) / 2, self.height - 6, anchor="middle"),
                text(ylabel, 0, 0, anchor="middle", transform=f"translate(10 {number(middle)})rotate(-90)"),
            ]
        )


def legend(entries: Sequence[tuple[str, Style]], *, lines: bool = True) -> Markup:
    """A list of names, each with its line, or its mark, in front of it. As HTML, so that it wraps."""
    items = []
    for name, style in entries:
        sample = line([(0, 5), (22, 5)], style) if lines else mark(11, 5, style)
        key = element(
            "svg",
            sample,
            width=22,
            height=10,
            aria_hidden="true",
            style="display:inline;min-width:0;margin-right:5px;overflow:visible",
        )
        items.append(element("li", key, name, style="display:inline-block;margin-right:16px;overflow-wrap:anywhere"))
    return element("ul", *items, style="list-style:none;padding:0;margin:4px 0;font-size:.8rem", class_="legend")
