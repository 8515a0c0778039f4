"""Classifiers with and without DiffAug: a panel per training recipe, so that each pair is compared by itself."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from harness.report.colours import PALETTE
from harness.report.figures.panels import Curve, Point
from harness.report.figures.style import LINES

DIFFAUG = "+diffaug"
"""End of the name of a classifier that was trained with DiffAug, too."""

WITHOUT, WITH = "no DiffAug", "DiffAug"

COLOURS = {WITHOUT: "0.35", WITH: PALETTE[0][0]}
"""Grey for the classifier that the other one is compared with."""

OTHERS = "other classifiers"
"""Title of the panel of classifiers without a partner."""

Row = tuple[str, str]
"""Classifier and method."""


def by_recipe(
    points: Mapping[Row, Sequence[Point]], name_of: Callable[[str], str] = lambda method: "", *, steps: bool = False
) -> dict[str, list[Curve]]:
    """Curves by panel: those of a classifier and of the same one with DiffAug share a panel, titled by its recipe.

    points: by classifier and method. name_of: words for a method in the legend, where a classifier without a partner
        has several; methods differ in their line.
    steps: see `Curve`.
    """
    names = list(dict.fromkeys(model for model, _ in points))
    methods = list(dict.fromkeys(method for _, method in points))
    prefix = _shared(names)
    panels: dict[str, list[Curve]] = {}
    for model in sorted(names, key=lambda name: (name.count("+"), name)):
        base = model.removesuffix(DIFFAUG)
        paired = {base, base + DIFFAUG} <= set(names)
        title = base.removeprefix(prefix) if paired else OTHERS
        kind = (WITHOUT if model == base else WITH) if paired else model.removeprefix(prefix)
        shown = [method for method in methods if (model, method) in points]
        for method in shown:
            words = name_of(method) if paired or len(shown) > 1 else ""
            place = len(panels.get(OTHERS, ()))
            # The line tells methods apart; of one method, others whose curves may coincide.
            number = methods.index(method) if paired else shown.index(method) if len(shown) > 1 else place
            look = COLOURS[kind] if paired else _ink(place), LINES[number % len(LINES)]
            name = ", ".join(filter(None, [kind, words]))
            panels.setdefault(title, []).append(Curve(name, points[model, method], look, steps, kind == WITHOUT))
    others = panels.pop(OTHERS, [])
    return {**panels, **({OTHERS if panels else "": others} if others else {})}


def _ink(place: int) -> str:
    """Colour of the curve at a place in the panel of others; never that of DiffAug."""
    return PALETTE[1 + place % (len(PALETTE) - 1)][0]


def _shared(names: Iterable[str]) -> str:
    """The start up to a slash that all names have, such as ``digits/``; "" if they differ."""
    starts = {name.rpartition("/")[0] for name in names}
    return f"{starts.pop()}/" if len(starts) == 1 and "" not in starts else ""
