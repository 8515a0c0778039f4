"""Curves of classifiers: certified accuracy by radius, and quantities by diffusion time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from harness.report.figures.choice import MOST, chosen, shares
from harness.report.figures.style import canvas, colour, dash, legend, wrapped

Row = tuple[str, str]
"""Classifier and method of a line."""

PANEL = 1.35
"""Height of a panel in inches."""

BESIDE = 9
"""Lines of a legend that a panel's place has room for."""

PANELS = 4
"""Methods that get a panel each."""


def survival(
    panels: Mapping[str, Mapping[Row, Sequence[float]]], total: int, xlabel: str, ylabel: str, title: str = ""
) -> Any:
    """Per panel and line, the share of `total` samples whose value is at least x, as steps over x.

    panels: by title, by classifier and method, the values of the samples that count (the radii of the right and
        certified ones); lines from the best on.
    """
    every = {row: wrapped(", ".join(row)) for lines in panels.values() for row in lines}
    methods = list(dict.fromkeys(method for _, method in every))
    texts = {f"{model}, {method}": (model, method) for model, method in every}
    shown = chosen(list(texts), "rows", "--models and --methods")
    rows = [texts[text] for text in shown]
    labels = {row: wrapped(row[0]) if len(methods) == 1 else every[row] for row in rows}
    title += f", {methods[0]}" if len(methods) == 1 else ""
    figure, axes = _grid(list(panels), title + shares(list(texts), shown, "rows"), list(labels.values()))
    for row in rows:
        style = {"color": colour(row[0]), "linestyle": dash(row[0], methods.index(row[1])), "label": labels[row]}
        for panel, values in panels.items():
            x = sorted(values.get(row, ()))
            y = [100 * k / total for k in range(len(x), 0, -1)]
            steps = [0.0, *x, x[-1] if x else 0.0], [100 * len(x) / total, *y, 0.0]
            axes[panel].step(*steps, where="pre", **style)
            axes[panel].set_ylim(0, 101)
            axes[panel].set_xlim(left=0)
    return _finished(figure, axes, xlabel, ylabel)


def lines(
    points: Mapping[Row, Sequence[tuple[float, float, float, float]]], xlabel: str, ylabel: str, title: str = ""
) -> Any:
    """Curves with 95 % bands, a panel per method.

    points: by classifier and method, from the best on, (x, y, low, high) with x rising.
    """
    models, methods = ([row[k] for row in points] for k in (0, 1))
    shown = chosen(models, "classifiers", "--models", MOST)
    panels = chosen(methods, "methods", "--methods", PANELS)
    title += shares(models, shown, "classifiers") + shares(methods, panels, "methods")
    labels = {model: wrapped(model) for model in shown}
    title += f", {panels[0]}" if len(panels) == 1 and panels != ["default"] else ""
    figure, axes = _grid(panels if len(panels) > 1 else [""], title, list(labels.values()))
    for (model, method), values in points.items():
        if model not in shown or method not in panels:
            continue
        panel = axes[method if len(panels) > 1 else ""]
        x, y, low, high = zip(*values, strict=True)
        style = {"color": colour(model), "linestyle": dash(model), "marker": ".", "label": labels[model]}
        panel.plot(x, y, **style)
        panel.fill_between(x, low, high, color=colour(model), alpha=0.15, linewidth=0)
    for panel in axes.values():
        if all(low >= 0 for values in points.values() for _, _, low, _ in values):
            panel.set_ylim(bottom=0)
        else:
            panel.axhline(0, color="black", linewidth=0.5)
    return _finished(figure, axes, xlabel, ylabel)


def _grid(panels: Sequence[str], title: str, labels: Sequence[str]) -> tuple[Any, dict[str, Any]]:
    """An empty figure and its axes by panel: one panel is as wide as the figure, of several two are side by side.

    A legend of few lines takes the place of a panel that is left free.
    """
    columns = min(2, len(panels))
    rows = -(-len(panels) // columns)
    is_beside = len(panels) < rows * columns and len("\n".join(labels).split("\n")) <= BESIDE
    height = 0.5 + (PANEL if rows > 1 else 1.3 * PANEL if columns > 1 else 2 * PANEL) * rows + 0.2 * rows
    figure = canvas(height, [] if is_beside else labels)
    grid = figure.subplots(rows, columns, sharey=True, squeeze=False)
    for empty in grid.flat[len(panels) :]:
        empty.set_axis_off()
    axes = dict(zip(panels, grid.flat, strict=False))
    for panel, place in axes.items():
        place.set_title(wrapped(panel, 30))
        place.grid(alpha=0.3)
    figure.suptitle(wrapped(title, 60))
    figure.legend_place = grid.flat[-1] if is_beside else None
    return figure, axes


def _finished(figure: Any, axes: Mapping[str, Any], xlabel: str, ylabel: str) -> Any:
    """The figure with the names of its axes and the legend of all panels."""
    places = list(axes.values())
    handles = {
        label: handle for place in places for handle, label in zip(*place.get_legend_handles_labels(), strict=True)
    }
    for place in places[-2:]:
        place.set_xlabel(xlabel)
    for place in places[::2]:
        place.set_ylabel(ylabel)
    if figure.legend_place:
        figure.legend_place.legend(handles.values(), handles.keys(), loc="center left")
    else:
        legend(figure, list(handles.values()), list(handles))
    return figure
