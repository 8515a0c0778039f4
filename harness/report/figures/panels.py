"""Small panels side by side in a column's width, with common axes and one legend: curves with 95 % bands."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.report.figures.style import COLUMN, LINE, canvas, colour, dash, legend, wrapped

Point = tuple[float, float, float, float]
"""x, y, and the ends of y's interval."""

HEIGHT = 1.2
"""Height of a panel in inches, its title included."""

BESIDE = 8
"""Lines of a legend that a panel's place has room for."""

WIDE = 2.0
"""Width in points of the line of a curve that another one may cover; others are about half as wide."""

SHORT = 12
"""Characters of names of which three stand side by side in a legend."""


@dataclass(frozen=True)
class Curve:
    """A line of a panel. points: with x rising. look: colour and line style; by default those of the classifier `name`.

    steps: y holds from the x before it: a share of samples above x, not a value between two measured ones.
    wide: a broader line, of which the edges stay visible under a curve that is drawn over it.
    """

    name: str
    points: Sequence[Point]
    look: tuple[str, str] | None = None
    steps: bool = False
    wide: bool = False


def panels(
    curves: Mapping[str, Sequence[Curve]],
    xlabel: str,
    ylabel: str,
    *,
    bottom: float | None = 0.0,
    top: float | None = None,
    log: bool = False,
    own_x: bool = False,
) -> Any:
    """A panel per title. Curves of one name, in one look, have one entry in the legend.

    bottom, top: ends of y; None for those of the data. log: of x. own_x: each row of panels has its own ends of x. The
    legend takes the place of a panel that is left free, or stands above.
    """
    names = list(dict.fromkeys(curve.name for each in curves.values() for curve in each))
    labels = [wrapped(name) for name in names]
    columns = min(2, len(curves))
    rows = math.ceil(len(curves) / columns)
    is_beside = len(curves) < rows * columns and sum(label.count("\n") + 1 for label in labels) <= BESIDE
    height = (HEIGHT if rows > 1 else 1.4 * HEIGHT if columns > 1 else 0.6 * COLUMN) * rows + 2 * LINE
    across = 3 if max(map(len, names)) <= SHORT else 2
    figure = canvas(height, [] if is_beside else labels, across)
    grid = figure.subplots(rows, columns, sharex="row" if own_x else True, sharey=True, squeeze=False)
    for place in grid.flat[len(curves) :]:
        place.set_axis_off()
    handles: dict[str, Any] = {}
    for (title, each), place in zip(curves.items(), grid.flat, strict=False):
        place.set_title(wrapped(title, 26), pad=3)
        place.grid(alpha=0.3)
        for curve in each:
            handles.setdefault(curve.name, _drawn(place, curve))
    _label_axes(grid, len(curves), xlabel, ylabel)
    grid.flat[0].set_ylim(bottom, top)
    if log:
        grid.flat[0].set_xscale("log")
    grid.flat[0].xaxis.set_major_formatter("{x:g}")  # powers would be formulas, and text is no formula here
    ordered = [handles[name] for name in names]
    if is_beside:
        grid.flat[-1].legend(ordered, labels, loc="center", handlelength=2.2)
    else:
        legend(figure, ordered, labels, across, place="upper")
    return figure


def _drawn(place: Any, curve: Curve) -> Any:
    """Draw a curve into a panel; its line, for the legend."""
    ink, line = curve.look or (colour(curve.name), dash(curve.name))
    x, y, low, high = zip(*curve.points, strict=True)
    where = {"step": "pre"} if curve.steps else {}
    place.fill_between(x, low, high, color=ink, alpha=0.15, linewidth=0, **where)
    style = {"color": ink, "linestyle": line, **({"linewidth": WIDE} if curve.wide else {})}
    (drawn,) = place.step(x, y, where="pre", **style) if curve.steps else place.plot(x, y, **style)
    return drawn


def _label_axes(grid: Any, count: int, xlabel: str, ylabel: str) -> None:
    """Name the axes once; a panel above a free place shows the numbers of x itself."""
    rows, columns = grid.shape
    figure = grid.flat[0].figure
    if rows > 1 or columns > 1:
        figure.supxlabel(xlabel, fontsize="medium")
        figure.supylabel(ylabel, fontsize="medium")
    else:
        grid.flat[0].set_xlabel(xlabel)
        grid.flat[0].set_ylabel(ylabel)
    for place in grid.flat[max(0, count - columns) : count]:
        place.tick_params(labelbottom=True)
