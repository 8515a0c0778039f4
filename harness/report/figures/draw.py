"""Figures of leaderboards. matplotlib is imported when a figure is drawn."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from harness import plugins
from harness.base.files import writing
from harness.evaluation.records.record import RunRecord
from harness.report import names
from harness.report.escape import printable

METADATA = {"png": {"Software": None}, "svg": {"Date": None, "Creator": None}}
"""By file type, the metadata that would differ from run to run."""

COLOURS = 10
"""Number of lines to which matplotlib gives different colours; further ones are dashed."""

LONGEST = 100
"""Characters of a figure's file name."""


def ranking(entries: Sequence[RunRecord]) -> Any:
    """One leaderboard as dots with 95 % intervals: a row per classifier, a colour per method, its first column."""
    from matplotlib.figure import Figure

    name, condition = entries[0].columns[0]
    models = sorted({e.model.name for e in entries}, reverse=True)
    variants = names.variants(entries)
    methods = sorted(set(variants), key=lambda m: (m != "default", m))
    figure = Figure(figsize=(7, 1.2 + 0.22 * len(models) * len(methods)), layout="constrained")
    axes = figure.add_subplot()
    for k, method in enumerate(methods):
        of_method = [
            (models.index(e.model.name), e.metric(name, condition))
            for e, variant in zip(entries, variants, strict=True)
            if variant == method
        ]
        points = [(row, metric) for row, metric in of_method if metric]
        x = [100 * m.value for _, m in points]
        low = [100 * (m.value - m.interval[0]) for _, m in points]
        high = [100 * (m.interval[1] - m.value) for _, m in points]
        y = [row + 0.6 * (0.5 - (k + 0.5) / len(methods)) for row, _ in points]
        axes.errorbar(x, y, xerr=(low, high), fmt="o", markersize=5, capsize=2, color=f"C{k}", label=printable(method))
    axes.set_yticks(range(len(models)), map(printable, models))
    axes.set_ylim(-0.6, len(models) - 0.4)
    axes.set_xlabel(printable(names.heading(entries[0], name, condition)))
    axes.set_title(printable(names.title(entries[0])), fontsize=10)
    axes.grid(axis="x", alpha=0.3)
    axes.legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False)
    return figure


def survival(panels: Mapping[str, Mapping[str, Sequence[float]]], total: int, xlabel: str, ylabel: str) -> Any:
    """Per panel and line, the share of `total` samples whose value is at least x, as steps over x.

    panels: by title, by line, the values of the samples that count (the radii of the right and certified ones).
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(3.6 * len(panels) + 2, 3.6), layout="constrained")
    row = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    lines = list(dict.fromkeys(name for lines in panels.values() for name in lines))
    for axes, (title, values) in zip(row, panels.items(), strict=True):
        for name, samples in values.items():
            x = sorted(samples)
            y = [100 * k / total for k in range(len(x), 0, -1)]
            style = {"color": f"C{lines.index(name)}", "label": printable(name)}
            axes.step([0.0, *x, x[-1] if x else 0.0], [100 * len(x) / total, *y, 0.0], where="pre", **style)
        axes.set_title(printable(title), fontsize=10)
        axes.set_xlabel(xlabel)
        axes.set_xlim(left=0)
        axes.set_ylim(0, 101)
        axes.grid(alpha=0.3)
    row[0].set_ylabel(ylabel)
    row[-1].legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False, fontsize=8)
    return figure


def lines(points: Mapping[str, Sequence[tuple[float, float, float, float]]], xlabel: str, ylabel: str) -> Any:
    """Curves with 95 % bands. points: by line, (x, y, low, high) with x rising."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, max(3.8, 0.6 + 0.17 * len(points))), layout="constrained")
    axes = figure.subplots()
    for k, (name, values) in enumerate(points.items()):
        x, y, low, high = zip(*values, strict=True)
        (line,) = axes.plot(x, y, "-" if k < COLOURS else "--", marker=".", label=printable(name))
        axes.fill_between(x, low, high, color=line.get_color(), alpha=0.2, linewidth=0)
    axes.set_xlabel(xlabel)
    axes.set_ylabel(ylabel)
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    axes.legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False, fontsize=8)
    return figure


def scores(cells: Mapping[tuple[str, str], tuple[Any, Mapping[str, Mapping[str, Any]]]]) -> Any:
    """A grid, models across and methods down: the distribution of scores, and the ROC curve of each data set.

    cells: by model and method, scores in distribution (N,) and outside, by group and data set; outside is positive.
    """
    import numpy as np
    from matplotlib.figure import Figure
    from sklearn.metrics import roc_curve

    models, methods = (list(dict.fromkeys(key[k] for key in cells)) for k in (0, 1))
    figure = Figure(figsize=(3 * len(models), 0.8 + 1.6 * len(methods)), layout="constrained")
    panels = figure.subplots(len(methods), 2 * len(models), squeeze=False)
    for axes in panels.flat:
        axes.set_axis_off()
    for (model, method), (inside, groups) in cells.items():
        row, column = panels[methods.index(method)], 2 * models.index(model)
        left, right = row[column : column + 2]
        kinds = {"in distribution": inside, **{g: np.concatenate(list(sets.values())) for g, sets in groups.items()}}
        edges = np.histogram_bin_edges(np.concatenate(list(kinds.values())), bins=50)
        for name, values in kinds.items():
            left.hist(values, edges, density=True, histtype="step", label=printable(name))
        outside = {f"{group}/{name}": values for group, sets in groups.items() for name, values in sets.items()}
        for name, values in outside.items():
            label = np.r_[np.zeros(len(inside)), np.ones(len(values))]
            flagged, detected, _ = roc_curve(label, -np.r_[inside, values])
            # As fine as the panel is wide: a curve has a point per image.
            shown = np.linspace(0, len(detected) - 1, min(len(detected), 100)).astype(int)
            right.plot(100 * flagged[shown], 100 * detected[shown], label=printable(name), linewidth=1)
        right.plot([0, 100], [0, 100], color="0.8", linewidth=0.8, zorder=0)
        for axes in (left, right):
            axes.set_axis_on()
            axes.tick_params(labelsize=6)
        left.set_yticks([])
        left.set_title(f"{printable(model)}\n{printable(method)}", fontsize=8)
        right.set_title("% outside flagged\nagainst % inside flagged", fontsize=6)
    first = panels[0]
    for axes in first[:2]:
        axes.legend(fontsize=5, frameon=False)
    figure.supxlabel("score (higher: in distribution)  |  in distribution and flagged (%)", fontsize=8)
    return figure


def write(entries: Sequence[RunRecord], folder: Path) -> list[Path]:
    """The figure of one leaderboard as PNG and SVG, named after its suite; the same records make the same SVG."""
    import matplotlib as mpl

    stem = "-".join(re.findall(r"[\w.=]+", names.title(entries[0])))[:LONGEST]
    files = []
    # A dollar sign in a name starts no formula.
    with mpl.rc_context({"svg.hashsalt": "harness", "text.parse_math": False}):
        is_loaded = entries[0].suite.partition(":")[0] in plugins.suite
        # Records outlive the plugin file of their suite; its own kind of figure does not.
        figure = plugins.suite.configure(entries[0].suite).plugin.figure(entries) if is_loaded else ranking(entries)
        for kind, metadata in METADATA.items():
            files.append(folder / f"{stem}.{kind}")
            with writing(files[-1]) as partial:
                figure.savefig(partial, format=kind, dpi=150, metadata=metadata)
    return files
