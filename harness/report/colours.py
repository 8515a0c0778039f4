"""Colours of classifiers: one each throughout the page and the figures, with a dash where there are more than ten."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

PALETTE = (
    ("#348cfa", "#439cf3"),
    ("#a30d01", "#fa7717"),
    ("#045d5b", "#1ee294"),
    ("#a947a7", "#b1889b"),
    ("#551594", "#684ef0"),
    ("#758803", "#f3f028"),
    ("#01075a", "#c0c1f7"),
    ("#5a091f", "#b340a1"),
    ("#1d0203", "#736948"),
    ("#ba8788", "#b8fef1"),
)
"""Ten colours, each for light and for dark backgrounds.

All have a contrast of at least 3 against white and against #16181d. Any two are at least 0.12 apart in Oklab (Ottosson,
2020), also as seen with a deficiency of the red, green or blue cones (Machado et al., TVCG 2009, severity 1); with full
colour vision 0.16. They come from a random search for the largest such distances.
"""

DASHES = ("", "6 3", "2 2", "8 3 2 3")
"""Dash patterns of SVG strokes: solid, dashed, dotted, dash-dotted."""

SHAPES = ("circle", "square", "triangle", "diamond", "cross", "down", "plus", "ring")
"""Shapes of marks, for methods."""


@dataclass(frozen=True)
class Style:
    """A look of a mark or a line.

    colour: place in `PALETTE`. dash: place in `DASHES`. shape: place in `SHAPES`.
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
