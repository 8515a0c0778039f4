"""Figures of leaderboards. matplotlib is imported when a figure is drawn."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harness import leaderboard
from harness.files import writing
from harness.record import RunRecord

METADATA = {"png": {"Software": None}, "svg": {"Date": None, "Creator": None}}


def ranking(entries: Sequence[RunRecord]) -> Any:
    """One leaderboard as dots with 95 % intervals: a row per classifier, a colour per method, its first column."""
    from matplotlib.figure import Figure

    name, condition = entries[0].columns[0]
    models = sorted({e.model.name for e in entries}, reverse=True)
    names = leaderboard.variants(entries)
    methods = sorted(set(names), key=lambda m: (m != "default", m))
    figure = Figure(figsize=(7, 1.2 + 0.22 * len(models) * len(methods)), layout="constrained")
    axes = figure.add_subplot()
    for k, method in enumerate(methods):
        of_method = [
            (models.index(e.model.name), e.metric(name, condition))
            for e, variant in zip(entries, names, strict=True)
            if variant == method
        ]
        points = [(row, metric) for row, metric in of_method if metric]
        x = [100 * m.value for _, m in points]
        low = [100 * (m.value - m.interval[0]) for _, m in points]
        high = [100 * (m.interval[1] - m.value) for _, m in points]
        y = [row + 0.6 * (0.5 - (k + 0.5) / len(methods)) for row, _ in points]
        axes.errorbar(x, y, xerr=(low, high), fmt="o", markersize=5, capsize=2, color=f"C{k}", label=method)
    axes.set_yticks(range(len(models)), models)
    axes.set_ylim(-0.6, len(models) - 0.4)
    axes.set_xlabel(leaderboard.heading(entries[0], name, condition))
    axes.set_title(leaderboard.title(entries[0]), fontsize=10)
    axes.grid(axis="x", alpha=0.3)
    axes.legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False)
    return figure


def write(entries: Sequence[RunRecord], folder: Path) -> list[Path]:
    """The figure of one leaderboard as PNG and SVG, named after its suite; the same records make the same SVG."""
    import matplotlib as mpl

    stem = "-".join(re.findall(r"[\w.=]+", leaderboard.title(entries[0])))
    files = []
    with mpl.rc_context({"svg.hashsalt": "harness"}):
        figure = ranking(entries)
        for kind, metadata in METADATA.items():
            files.append(folder / f"{stem}.{kind}")
            with writing(files[-1]) as partial:
                figure.savefig(partial, format=kind, dpi=150, metadata=metadata)
    return files
