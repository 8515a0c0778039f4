"""Detection of images out of distribution: ROC curves and distributions of scores, from sample tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from harness.base.errors import HarnessError
from harness.report.colours import Style
from harness.report.page.charts.common import Board, digits
from harness.report.page.parts import Chart
from harness.report.page.svg.axes import Frame, legend
from harness.report.page.svg.elements import drawing, element, group, joined, side_by_side, text
from harness.report.page.svg.marks import line, path
from harness.report.page.svg.scales import Scale, fit
from harness.report.table import Table

Floats = NDArray[np.float64]

BASELINE = "msp"
"""The method that every classifier has beside its best ones (Hendrycks & Gimpel, ICLR 2017)."""

INSIDE = ("id", "csid")
"""Groups of conditions in distribution; all others are outside."""

METHODS, MODELS = 2, 12
"""Methods of each classifier, and classifiers, that a chart shows."""

BINS, POINTS = 25, 30
"""Bins of a histogram, and points of a ROC curve."""

RATES = (1, 2, 5, 10, 20, 50)
"""Percent of images inside flagged, for the data under the chart."""

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
"""Quantiles of the scores in the data under the chart."""

RATE = Frame(Scale(0, 100, kind="log"), Scale(0, 100), height=300)
"""The frame of ROC curves: few images inside flagged is what matters, so that x is logarithmic, of 1 + x."""

CHANCE = (0, 0.5, 1, 2, 3, 5, 8, 12, 18, 27, 40, 60, 80, 100)
"""Points of the diagonal, which is no straight line on that scale."""

SETS = (
    "A curve of several sets is the mean of their curves, as their AUROC is the mean; scores are those of all images."
)
"""The sentence on sets of one group."""

X, Y = "inside, flagged (%)", "outside, flagged (%)"


@dataclass(frozen=True)
class Scores:
    """Scores of a row: in distribution, and by group outside, of each set. Higher looks more in-distribution."""

    inside: Floats
    outside: Mapping[str, Sequence[Floats]]

    @property
    def pooled(self) -> dict[str, Floats]:
        """By group outside, the scores of all its images."""
        return {name: np.concatenate(sets) for name, sets in self.outside.items()}


def roc(inside: Floats, outside: Sequence[Floats], points: int = POINTS) -> tuple[Floats, Floats]:
    """The ROC curve, outside positive, in percent: flagged inside and flagged outside, both rising from 0 to 100.

    At most `points` thresholds, evenly along the curve; a tie is a straight line. Several sets outside count equally,
    whatever their sizes: the curve is their mean at each rate inside, and its area the mean AUROC.
    """
    thresholds = np.unique(np.r_[inside, *outside])
    flagged = np.searchsorted(np.sort(inside), thresholds, side="right") / len(inside)
    detected = np.mean([np.searchsorted(np.sort(s), thresholds, side="right") / len(s) for s in outside], axis=0)
    x, y = np.r_[0.0, flagged], np.r_[0.0, detected]
    length = x + y
    places = np.unique(np.searchsorted(length, np.linspace(0, length[-1], points)))
    return 100 * x[places], 100 * y[places]


def detection(board: Board) -> Sequence[Chart]:
    """ROC curves of each classifier's best row, and per classifier the curves and scores of its best rows."""
    if not any(m.name == "auroc" for entry in board.entries for m in entry.metrics):
        return []
    rows = _chosen(board)
    scores: dict[int, Scores] = {}
    for k in [row for chosen in rows.values() for row in chosen]:
        try:
            scores[k] = _scores(board, k)
        except HarnessError:
            continue
    if not scores:
        raise HarnessError("no sample table can be read")
    missing = sum(len(chosen) for chosen in rows.values()) - len(scores)
    note = f" Rows without a readable sample table: {missing}." if missing else ""
    drawn = {model: [k for k in chosen if k in scores] for model, chosen in rows.items()}
    return [_best(board, scores, drawn, note), _by_model(board, scores, drawn, note)]


def _chosen(board: Board) -> dict[str, list[int]]:
    """Per classifier its best rows, and the baseline: places on the board, best classifier first."""
    rows: dict[str, list[int]] = {}
    for k, model in enumerate(board.models):
        rows.setdefault(model, []).append(k)
    chosen = {}
    for model, places in list(rows.items())[:MODELS]:
        base = [k for k in places if board.entries[k].method == BASELINE][:1]
        best = [k for k in places if k not in base][: METHODS - len(base)]
        chosen[model] = sorted([*best, *base])
    return chosen


def _scores(board: Board, row: int) -> Scores:
    rows = board.rows_of(row, "score")
    values = np.asarray(rows["score"], dtype=np.float64)
    conditions = rows["condition"].astype(str)
    inside, outside = np.zeros(len(conditions), dtype=bool), dict[str, list[Floats]]()
    for name in np.unique(conditions).tolist():
        chosen = conditions == name
        if (kind := name.partition("/")[0]) in INSIDE:
            inside |= chosen
        else:
            outside.setdefault(kind, []).append(values[chosen])
    if values.ndim != 1 or not inside.any() or not outside:
        raise HarnessError(f"the sample table of {board.labels[row]} has no scores inside and outside")
    return Scores(values[inside], dict(sorted(outside.items(), reverse=True)))


def _best(board: Board, scores: Mapping[int, Scores], rows: Mapping[str, list[int]], note: str) -> Chart:
    """A panel per group outside, a curve per classifier."""
    best = [chosen[0] for chosen in rows.values() if chosen]
    groups = list(dict.fromkeys(name for k in best for name in scores[k].outside))
    id, title = board.id("roc"), "ROC curves of each classifier's best method"
    drawings, data = [], []
    for number, name in enumerate(groups):
        curves = {k: roc(scores[k].inside, scores[k].outside[name]) for k in best if name in scores[k].outside}
        lines = [group(line(RATE.points(*curve), board.line(k)), tip=board.labels[k]) for k, curve in curves.items()]
        described = f"{title}, {name}"
        drawings.append(RATE.draw(f"{id}--{number}", name, described, X, Y, _chance(RATE), joined(lines)))
        data += [[board.models[k], board.methods[k], name, *_at_rates(curve)] for k, curve in curves.items()]
    key = [(board.labels[k], board.line(k)) for k in best]
    caption = (
        f"An image is flagged when its score is low. Dashed: chance. The horizontal scale is logarithmic. {SETS}{note}"
    )
    header = ["classifier", "method", "outside", *(f"{Y} at {rate} %" for rate in RATES)]
    return Chart(id, title, side_by_side(drawings) + legend(key), caption, Table(title, header, data))


def _at_rates(curve: tuple[Floats, Floats]) -> list[str]:
    return [digits(float(np.round(np.interp(rate, *curve), 1))) for rate in RATES]


def _by_model(board: Board, scores: Mapping[int, Scores], rows: Mapping[str, list[int]], note: str) -> Chart:
    """A fold per classifier: its methods beside one another, each as histogram and ROC curve."""
    id, title = board.id("scores"), "Scores of each classifier's best methods"
    folds: list[Markup] = []
    data: list[list[str]] = []
    groups: dict[str, None] = {}
    for model, chosen in rows.items():
        panels = []
        for k in chosen:
            groups |= dict.fromkeys(scores[k].outside)
            edges, shares = _histogram(scores[k])
            panels.append(_pair(board, k, f"{id}--{k}", scores[k], (edges, shares)))
            for name, values in {"in distribution": scores[k].inside, **scores[k].pooled}.items():
                data.append([model, board.methods[k], name, *map(digits, np.quantile(values, QUANTILES).tolist())])
        if panels:
            summary = element("summary", f"{model}: {', '.join(board.methods[k] for k in chosen)}")
            folds.append(element("details", summary, side_by_side(panels, 340), open="" if not folds else None))
    key = legend([("in distribution", Style(0)), *((name, Style(*LOOKS[k % 3])) for k, name in enumerate(groups))])
    caption = (
        f"Left: percent of the images by score, in {BINS} bins; right: ROC curves. {SETS} Per classifier, its best "
        f"method by the first column beside {BASELINE}. Open two to compare.{note}"
    )
    header = ["classifier", "method", "images", *(f"score at quantile {share:g}" for share in QUANTILES)]
    return Chart(id, title, key + joined(folds), caption, Table(title, header, data))


LOOKS = ((1, 0), (2, 1), (3, 2))
"""Colour and dash of the groups outside, in their order."""


def _histogram(scores: Scores) -> tuple[list[float], dict[str, list[float]]]:
    """Edges of the bins, and per group the percent of its images in each; the outer bins hold what lies beyond."""
    everything = np.r_[scores.inside, *scores.pooled.values()]
    low, high = np.quantile(everything, [0.005, 0.995])
    edges = np.linspace(low, high if high > low else low + 1.0, BINS + 1)
    kinds = {"in distribution": scores.inside, **scores.pooled}
    counts = {name: np.histogram(np.clip(values, low, edges[-1]), edges)[0] for name, values in kinds.items()}
    return edges.tolist(), {name: (100 * c / max(c.sum(), 1)).tolist() for name, c in counts.items()}


def _pair(
    board: Board, row: int, id: str, scores: Scores, histogram: tuple[Sequence[float], Mapping[str, Sequence[float]]]
) -> Markup:
    """Histograms of a row's scores as steps, and beside them its ROC curves."""
    edges, shares = histogram
    top = max(v for values in shares.values() for v in values)
    left = Frame(Scale(edges[0], edges[-1]), fit([0.0, top], least=0.0), 180, 170, 20, ticks=(4, 0))
    right = replace(RATE, width=200, height=170, left=42, ticks=(4, 3))
    heights = [line(left.points([edges[0], *edges], [0, *v, 0]), s, steps=True) for s, v in _styled(shares)]
    curves = {name: roc(scores.inside, values) for name, values in scores.outside.items()}
    rates = [line(right.points(*curve), style) for style, curve in _styled({"": None, **curves}) if curve]
    parts = [
        text(board.methods[row], 0, 11, font_weight="600"),
        left.axes("score", "images"),
        *heights,
        element("g", right.axes(X, Y), _chance(right), *rates, transform="translate(190)"),
    ]
    name = f"Scores and ROC curves, {board.labels[row]}"
    return drawing(id, name, name, (390, 170), *parts)


def _styled(groups: Mapping[str, Any]) -> list[tuple[Style, Any]]:
    """The values of groups with their looks; the first one is in distribution."""
    return [(Style(*LOOKS[(k - 1) % 3]) if k else Style(0), values) for k, values in enumerate(groups.values())]


def _chance(frame: Frame) -> Markup:
    """The curve of a score that says nothing."""
    return element(
        "path",
        d=path(frame.points(CHANCE, CHANCE)),
        stroke="var(--muted)",
        fill="none",
        stroke_dasharray="3 3",
    )
