"""Colours of classifiers: one each throughout the page and the figures, with a dash where there are more than ten."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

PALETTE = (
    ("#0357cb", "#6294f9"),
    ("#d43a0d", "#ef400b"),
    ("#3d9571", "#7ec866"),
    ("#fe51c3", "#f780b9"),
    ("#570993", "#823cee"),
    ("#c48e1f", "#fcff4b"),
    ("#1e9df7", "#5adcfe"),
    ("#ae328f", "#c2178f"),
    ("#023a56", "#948674"),
    ("#74443d", "#ffcbb3"),
)
"""Ten colours, each for light and for dark backgrounds.

Contrast is at least 2.9 against white, and 3.2 against #14171a. Any two are at least 0.17 apart in Oklab (Ottosson,
2020), and 0.095 as seen without the red, green or blue cones (Machado et al., TVCG 2009). Found by random search for
the largest such distances near ten hues.
"""

DASHES = ("", "6 3", "2 2", "8 3 2 3")
"""Dash patterns of SVG strokes: solid, dashed, dotted, dash-dotted."""

SHAPES = ("circle", "square", "triangle", "diamond", "cross", "down", "plus", "ring")
"""Shapes of marks, for methods."""


NEUTRAL = -1
"""Colour of what belongs to no classifier, such as a method's shape in a legend."""


@dataclass(frozen=True)
class Style:
    """A look of a mark or a line.

    colour: place in `PALETTE`, or `NEUTRAL`. dash: place in `DASHES`. shape: place in `SHAPES`.
    """

    colour: int = 0
    dash: int = 0
    shape: int = 0


def colours(names: Iterable[str]) -> dict[str, int]:
    """The place in `PALETTE` of each name, by its place among all sorted names; the eleventh has the first colour."""
    return {name: style.colour for name, style in styles(names).items()}


def styles(names: Iterable[str]) -> dict[str, Style]:
    """The look of each name: give the names of a whole results folder, so that one name looks the same everywhere.

    Ten names have ten colours; the next ten have these again, dashed and with another shape, and so on.
    """
    count = len(PALETTE)
    return {
        name: Style(k % count, k // count % len(DASHES), k // count % len(SHAPES))
        for k, name in enumerate(sorted(set(names)))
    }
