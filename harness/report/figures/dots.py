"""A leaderboard as dots with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from harness.evaluation.records.record import RunRecord
from harness.report import names
from harness.report.figures.choice import chosen, shares
from harness.report.figures.style import MARKERS, SMALL, canvas, colour, legend, wrapped


def ranking(entries: Sequence[RunRecord]) -> Any:
    """One leaderboard as dots with 95 % intervals: a row and a colour per classifier, a mark per method, first column.

    entries: sorted from the best on.
    """
    from matplotlib.lines import Line2D

    name, condition = entries[0].columns[0]
    variants = names.variants(entries)
    models = [entry.model.name for entry in entries]
    shown = chosen(models, "classifiers", "--models")
    methods = sorted(chosen(variants, "methods", "--methods", len(MARKERS)), key=lambda m: (m != "default", m))
    labels = [wrapped(method) for method in methods]
    columns = min(4, len(methods))
    step = max(0.3, 0.12 * len(methods))
    figure = canvas(0.75 + step * len(shown), labels, columns)
    axes = figure.add_subplot()
    for entry, method in zip(entries, variants, strict=True):
        metric = entry.metric(name, condition)
        if metric is None or entry.model.name not in shown or method not in methods:
            continue
        k = methods.index(method)
        y = shown.index(entry.model.name) + 0.7 * ((k + 0.5) / len(methods) - 0.5)
        low, high = (100 * abs(metric.value - end) for end in metric.interval)
        style = {"color": colour(entry.model.name), "fmt": MARKERS[k], "capsize": 1.5, "elinewidth": 0.8}
        axes.errorbar([100 * metric.value], [y], xerr=([low], [high]), **style)
    axes.set_yticks(range(len(shown)), [wrapped(model) for model in shown])
    axes.set_ylim(len(shown) - 0.4, -0.6)
    axes.set_xlabel(wrapped(names.heading(entries[0], name, condition), 60))
    title = names.title(entries[0]) + shares(models, shown, "classifiers")
    figure.suptitle(wrapped(title + shares(variants, methods, "methods"), 60))
    axes.grid(axis="x", alpha=0.3)
    axes.hlines([k + 0.5 for k in range(len(shown) - 1)], 0, 1, "0.9", lw=0.5, transform=axes.get_yaxis_transform())
    if len(methods) > 1:
        marks = [Line2D([], [], color="0.3", marker=MARKERS[k], linestyle="") for k in range(len(methods))]
        legend(figure, marks, labels, columns)
    axes.tick_params(axis="y", labelsize=SMALL)
    return figure
