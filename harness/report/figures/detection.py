"""Detection of images out of distribution: a map of AUROC, score histograms and ROC curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from harness.report.figures.choice import chosen, shares
from harness.report.figures.style import LINES, SMALL, canvas, legend, wrapped

Row = tuple[str, str]
"""Classifier and detector."""

ACROSS = 10
"""Detectors of a map: its columns have room for a number each."""

PAIRS = 4
"""Pairs of classifier and detector whose scores are drawn."""

STEPS = 60
"""Points of a ROC curve: as fine as the panel is wide, where the curve itself has a point per image."""

LEAST = 0.1
"""Smallest share of images in distribution, in percent, on the axis of ROC curves, which is logarithmic."""

INSIDE = "in distribution"


def heat_maps(maps: Mapping[str, Mapping[Row, float]], title: str) -> dict[str, Any]:
    """Maps of AUROC in percent by group, classifiers down and detectors across, all in one order: of the mean.

    maps: by group of data sets, by classifier and detector, the AUROC in [0, 1].
    """
    models, detectors = (_by_mean([*maps.values()], part) for part in (0, 1))
    rows = chosen(models, "classifiers", "--models")
    columns = chosen(detectors, "detectors", "--detectors", ACROSS)
    title += shares(models, rows, "classifiers") + shares(detectors, columns, "detectors")
    lowest = min((v for values in maps.values() for v in values.values()), default=0.5)
    return {
        group: _heat_map(values, rows, columns, f"AUROC {group} (%): {title}", min(50.0, 100 * lowest))
        for group, values in maps.items()
    }


def _heat_map(
    values: Mapping[Row, float], rows: Sequence[str], columns: Sequence[str], title: str, lowest: float
) -> Any:
    """One map. lowest: value in percent of the darkest colour."""
    import numpy as np

    cells = np.array([[100 * values.get((row, column), np.nan) for column in columns] for row in rows])
    figure = canvas(1.4 + 0.24 * len(rows))
    axes = figure.add_subplot()
    axes.pcolormesh(cells, cmap="cividis", vmin=lowest, vmax=100, edgecolors="white", linewidth=0.5)
    for (y, x), value in np.ndenumerate(cells):
        text = "" if np.isnan(value) else f"{value:.1f}".replace("100.0", "100")
        ink = "white" if value < (lowest + 100) / 2 else "black"
        axes.text(x + 0.5, y + 0.5, text, ha="center", va="center", color=ink, fontsize=SMALL)
    axes.set_xticks(np.arange(len(columns)) + 0.5, [wrapped(name) for name in columns], rotation=90)
    axes.set_yticks(np.arange(len(rows)) + 0.5, [wrapped(name) for name in rows])
    axes.invert_yaxis()
    axes.tick_params(length=0)
    axes.set_frame_on(False)
    figure.suptitle(wrapped(title, 60))
    return figure


def _by_mean(maps: Sequence[Mapping[Row, float]], part: int) -> list[str]:
    """The classifiers (part 0) or detectors (1), the best on average first."""
    scores: dict[str, list[float]] = {}
    for values in maps:
        for row, value in values.items():
            scores.setdefault(row[part], []).append(value)
    return sorted(scores, key=lambda name: (-sum(scores[name]) / len(scores[name]), name))


def few(rows: Sequence[Row]) -> list[Row]:
    """The pairs whose scores are drawn, of rows from the best on: all if they are few, else each name once."""
    if len(rows) <= PAIRS:
        return list(rows)
    picked: list[Row] = []
    for model, detector in rows:
        if len(picked) < PAIRS and not any(model == m or detector == d for m, d in picked):
            picked.append((model, detector))
    return picked


def scores(cells: Mapping[Row, tuple[Any, Mapping[str, Mapping[str, Any]]]], title: str) -> Any:
    """A row of panels per classifier and detector: the distribution of its scores, and a ROC curve per data set.

    cells: by pair, scores in distribution (N,) and outside, by group and data set; outside is positive.
    """
    import numpy as np

    first = next(iter(cells.values()))
    sets = [f"{group}: {name}" for group, names in first[1].items() for name in names]
    labels = [INSIDE, *first[1], *sets]
    figure = canvas(0.5 + 1.2 * len(cells), labels)
    panels = figure.subplots(len(cells), 2, squeeze=False)
    for (left, right), (row, (inside, groups)) in zip(panels, cells.items(), strict=True):
        kinds = {INSIDE: inside, **{g: np.concatenate(list(sets.values())) for g, sets in groups.items()}}
        edges = np.histogram_bin_edges(np.concatenate(list(kinds.values())), bins=50)
        for k, (name, values) in enumerate(kinds.items()):
            left.hist(values, edges, density=True, histtype="step", label=name, color=_INKS[k % len(_INKS)])
        for k, (group, outside) in enumerate(groups.items(), 1):
            for n, (name, values) in enumerate(outside.items()):
                style = {"color": _INKS[k % len(_INKS)], "linestyle": LINES[n % len(LINES)], "linewidth": 0.9}
                right.plot(*_roc(inside, values), label=f"{group}: {name}", **style)
        left.set_yticks([])
        left.set_title(wrapped(", ".join(row), 60), loc="left")
        right.set_xscale("log")
        right.set_xticks([0.1, 1, 10, 100], ["0.1", "1", "10", "100"])
        right.set_xlim(LEAST, 100)
        right.set_ylim(0, 103)
        right.grid(alpha=0.3)
        right.set_ylabel("outside (%)")
    panels[-1][0].set_xlabel("score (high: inside)")
    panels[-1][1].set_xlabel("in distribution (%)")
    figure.suptitle(wrapped(f"{title}: scores, and shares of images flagged", 60))
    handles = {
        label: handle for place in panels[0] for handle, label in zip(*place.get_legend_handles_labels(), strict=True)
    }
    legend(figure, list(handles.values()), list(handles))
    return figure


_INKS = ("0.35", "tab:orange", "tab:blue", "tab:green", "tab:purple")
"""Colours of the images in distribution, and of the groups outside."""


def _roc(inside: Any, outside: Any) -> tuple[Any, Any]:
    """Shares in percent of the images in distribution and outside that a threshold flags, at `STEPS` thresholds."""
    import numpy as np
    from sklearn.metrics import roc_curve

    label = np.r_[np.zeros(len(inside)), np.ones(len(outside))]
    flagged, detected, _ = roc_curve(label, -np.r_[inside, outside])
    # Of several thresholds that flag equally many in distribution the last one flags the most outside.
    shares = np.geomspace(LEAST, 100, STEPS)
    return shares, 100 * detected[np.searchsorted(100 * flagged, shares, side="right") - 1]
