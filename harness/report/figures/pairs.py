"""Classifiers with and without DiffAug: a panel per training recipe, so that each pair is compared by itself."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from harness.report.figures.panels import Curve, Point
from harness.report.figures.style import LINES, colour

DIFFAUG = "+diffaug"
"""End of the name of a classifier that was trained with DiffAug, too."""

WITHOUT, WITH = "no DiffAug", "DiffAug"

COLOURS = {WITHOUT: "0.35", WITH: "#0357cb"}
"""Grey for the classifier that the other one is compared with."""

OTHERS = "other classifiers"
"""Title of the panel of classifiers without a partner."""

Row = tuple[str, str]
"""Classifier and method."""


def by_recipe(
    points: Mapping[Row, Sequence[Point]], name_of: Callable[[str], str] = lambda method: "", *, steps: bool = False
) -> dict[str, list[Curve]]:
    """Curves by panel: those of a classifier and of the same one with DiffAug share a panel, titled by its recipe.

    points: by classifier and method. name_of: words for a method in the legend; methods differ in their line.
    steps: see `Curve`.
    """
    names = list(dict.fromkeys(model for model, _ in points))
    methods = list(dict.fromkeys(method for _, method in points))
    prefix = _shared(names)
    panels: dict[str, list[Curve]] = {}
    for model in sorted(names, key=lambda name: (name.count("+"), name)):
        base, ending, _ = model.partition(DIFFAUG)
        paired = {base, base + DIFFAUG} <= set(names)
        title = base.removeprefix(prefix) if paired else OTHERS
        kind = (WITH if ending else WITHOUT) if paired else model.removeprefix(prefix)
        for method in methods:
            if (model, method) in points:
                words = ", ".join(filter(None, [kind, name_of(method)]))
                line = LINES[methods.index(method) % len(LINES)]
                ink = COLOURS[kind] if paired else colour(model)
                panels.setdefault(title, []).append(Curve(words, points[model, method], (ink, line), steps))
    others = panels.pop(OTHERS, [])
    return {**panels, **({OTHERS if panels else "": others} if others else {})}


def _shared(names: Iterable[str]) -> str:
    """The start up to a slash that all names have, such as ``digits/``; "" if they differ."""
    starts = {name.rpartition("/")[0] for name in names}
    return f"{starts.pop()}/" if len(starts) == 1 and "" not in starts else ""
