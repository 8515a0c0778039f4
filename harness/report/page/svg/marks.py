"""Marks of a chart: points, intervals, lines, bands, steps and reference lines, in pixels of a drawing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from markupsafe import Markup

from harness.report.colours import SHAPES, Style
from harness.report.page.svg.elements import colour, dash, element, number

Point = tuple[float, float]

OUTLINES = {
    "square": "M-4-4h8v8h-8z",
    "triangle": "M0-5l5 9h-10z",
    "diamond": "M0-5.5l5 5.5-5 5.5-5-5.5z",
    "cross": "M-4-4l8 8m0-8l-8 8",
    "down": "M0 5l5-9h-10z",
    "plus": "M-5 0h10m-5-5v10",
}
"""Paths of marks around the origin."""


def mark(x: float, y: float, style: Style) -> Markup:
    """A mark of the style's shape and colour at a point."""
    shape = SHAPES[style.shape % len(SHAPES)]
    if shape in ("circle", "ring"):
        hollow = {"fill": "none", "stroke": colour(style), "stroke_width": 2} if shape == "ring" else {}
        return element("circle", cx=x, cy=y, r=4, **{"fill": colour(style), **hollow})
    at = f"translate({number(x)} {number(y)})"
    if shape in ("cross", "plus"):
        return element("path", d=OUTLINES[shape], transform=at, fill="none", stroke=colour(style), stroke_width=2)
    return element("path", d=OUTLINES[shape], transform=at, fill=colour(style))


def interval(low: float, high: float, y: float, style: Style) -> Markup:
    """A horizontal interval with ends."""
    path = f"M{number(low)} {number(y - 3)}v6m0-3H{number(high)}m0-3v6"
    return element("path", d=path, stroke=colour(style), fill="none", stroke_width=1.5)


def path(points: Iterable[Point]) -> str:
    """Data of a path through points; after the first one in steps, which are shorter, and of rounded places."""
    (x, y), *rest = _rounded(points)
    start = f"M{_tenths(x)} {_tenths(y)}"
    steps = []
    for a, b in rest:
        steps += [_tenths(a - x), _tenths(b - y)]
        x, y = a, b
    return f"{start}l{' '.join(steps)}".replace(" -", "-") if steps else start


def stepped(points: Sequence[Point]) -> str:
    """Data of a path that keeps each point's y until the next point's x."""
    (x, y), *rest = _rounded(points)
    data = f"M{_tenths(x)} {_tenths(y)}"
    for a, b in rest:
        data += (f"h{_tenths(a - x)}" if a != x else "") + (f"v{_tenths(b - y)}" if b != y else "")
        x, y = a, b
    return data


def _rounded(points: Iterable[Point]) -> list[tuple[int, int]]:
    """Points in tenths."""
    return [(round(10 * x), round(10 * y)) for x, y in points]


def _tenths(value: int) -> str:
    """Tenths as a number, without a zero before the point."""
    sign, whole, tenth = "-" if value < 0 else "", *divmod(abs(value), 10)
    return sign + (str(whole) if whole or not tenth else "") + (f".{tenth}" if tenth else "")


def line(
    points: Sequence[Point], style: Style, *, steps: bool = False, dots: bool = False, width: float = 1.7
) -> Markup:
    """A line through points. steps: keeps each y until the next x. dots: with a dot at each point."""
    drawn = element(
        "path",
        d=stepped(points) if steps else path(points),
        stroke=colour(style),
        fill="none",
        stroke_width=width,
        stroke_dasharray=dash(style),
        stroke_linejoin="round",
    )
    if not dots:
        return drawn
    places = "".join(f"M{number(x)} {number(y)}h0" for x, y in points)
    return drawn + element("path", d=places, stroke=colour(style), stroke_width=4.5, stroke_linecap="round")


def band(xs: Sequence[float], low: Sequence[float], high: Sequence[float], style: Style) -> Markup:
    """The area between two lines, such as the limits of intervals."""
    there, back = zip(xs, low, strict=True), reversed(list(zip(xs, high, strict=True)))
    return element("path", d=path([*there, *back]) + "z", fill=colour(style), fill_opacity="0.12")


def reference(start: Point, end: Point) -> Markup:
    """A dashed line for comparison, such as the diagonal of chance."""
    return element("path", d=path([start, end]), stroke="var(--muted)", fill="none", stroke_dasharray="3 3")
