"""Detection of images from outside the classifier's classes: metrics of ID and OOD scores. Pure numpy, float64.

A score is higher the more an image looks in-distribution (ID). Values follow OpenOOD's main branch: tied scores share
one threshold, FPR@95 is read at a corner of the ROC curve, and AUPR joins the points of its curve by straight lines.

Sampling unit: the source image. ID and OOD images are independent samples of fixed sizes, and the data sets of a suite
share one ID sample, so their metrics are correlated: means over data sets take that into account. Where one ID image
comes in several versions, `images` says which rows are the same one.

Intervals are two-sided at 95 %, as those of `harness.metrics.intervals`: images have flat Dirichlet weights, and for
each end both sides have half an image more, the worst or the best there could be, since scores that do not overlap are
no certainty. AUROC has DeLong's variance under these weights and a beta distribution with it, the other metrics are
simulated. Where a sample has a single image, which says nothing about others, it is [0, 1].
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from harness.metrics.delong import Components, Names, Ranked, rank, rank_all, weight_draws, weights
from harness.metrics.intervals import DIGITS, TAIL, TINY, Floats, Interval, Undefined
from harness.types import HarnessError, Metric

Groups = Mapping[str, Mapping[str, ArrayLike]]

RECALL = 0.95
REPLICATES = 500
"""Random weights for each end of an interval."""

BLOCK = 2**15
"""Weights that are computed at once: so many stay in a processor's cache."""

RATES = {"fpr95_ood_pos": False, "fpr95_id_pos": False, "aupr_in": True, "aupr_out": True}
"""Metrics with bootstrap intervals, in the order of `rates`, and whether higher is better."""


@dataclass(frozen=True)
class PairedAUROC:
    """Model or detector b against a on the same images.

    difference: AUROC of b minus AUROC of a, in [-1, 1]; positive when b is better.
    interval: 95 % interval of the difference.
    n: images, ID and OOD.
    p: two-sided p-value of no difference.
    """

    difference: float
    interval: Interval
    n: int
    p: float


def auroc(id_scores: ArrayLike, ood_scores: ArrayLike) -> float:
    """Chance that an ID image scores higher than an OOD image; a tie counts 1/2.

    id_scores: (n_id,), ood_scores: (n_ood,), finite. Raises `Undefined` when either is empty.
    """
    return Components.of([rank(id_scores, ood_scores)]).value


def fpr95(id_scores: ArrayLike, ood_scores: ArrayLike, positive: Literal["ood", "id"] = "ood") -> float:
    """Share of negatives taken for positives by the first threshold that finds 95 % of the positives.

    Only corners of the ROC curve are thresholds, as in scikit-learn's default: where equal groups of tied images follow
    one another, the curve runs straight through their thresholds.

    positive: "ood", OpenOOD's main branch, counts ID images flagged when at least 95 % of the OOD images are; "id", the
        way of many papers, OOD images accepted when at least 95 % of the ID images are.
    id_scores, ood_scores: as in `auroc`.
    """
    return _rate(id_scores, ood_scores, f"fpr95_{positive}_pos")


def aupr(id_scores: ArrayLike, ood_scores: ArrayLike, positive: Literal["in", "out"] = "in") -> float:
    """Area under the precision-recall curve by trapezoids, from recall 0 and precision 1 on; not average precision.

    positive: "in" takes ID images for the positives, "out" OOD images. id_scores, ood_scores: as in `auroc`.
    """
    return _rate(id_scores, ood_scores, f"aupr_{positive}")


def auroc_metric(
    id_scores: ArrayLike, ood: Mapping[str, ArrayLike], condition: str, images: Names | None = None
) -> Metric:
    """AUROC, or the unweighted mean of the AUROCs of several data sets, with DeLong's interval.

    The mean A of D areas A_d that share the ID images x. To first order, A_d sums independent contributions of images,
    V_d(x_i) / n_id + W_d(y_dj) / n_d plus a constant, where the placement V_d(x) is the share of data set d that scores
    below x, W_d(y) the share of the ID images that score above y, ties 1/2. In A an ID image thus contributes its mean
    placement and an OOD image its own divided by D:

        Var A = var_i(mean_d V_d(x_i)) / n_id + sum_d var_j(W_d(y_dj)) / (D^2 n_d)

    with sample variances. D = 1 is the estimate of DeLong, DeLong & Clarke-Pearson 1988. Placements are differences of
    ranks (Sun & Xu 2014), so one sort is all it takes. The interval's ends are quantiles of the beta distributions that
    have the moments of `Components.moments`. Wald's interval, with this variance as it stands, holds an area of 0.999
    in as few as 66 % of samples, and on the logit scale in 71 % (results/coverage.md).

    id_scores: (n_id,). ood: (n_d,) scores by data set, no image in two of them. Finite; raises `Undefined` when empty.
    images: (n_id,) names of the source images, where several rows belong to one; the first variance is then that of a
        sum over images (Obuchowski 1997).
    """
    return _auroc_metric(rank_all(id_scores, ood, images), condition)


def compare_auroc(
    a_id: ArrayLike,
    a_ood: Mapping[str, ArrayLike],
    b_id: ArrayLike,
    b_ood: Mapping[str, ArrayLike],
    images: Names | None = None,
) -> PairedAUROC:
    """Two models or detectors on the same images: difference of their AUROCs, or of the means over several data sets.

    The variance is that of `auroc_metric` with the differences of both models' placements in their place, which is
    DeLong's with its covariance; the interval is made likewise, on [-1, 1], and p is below 5 % exactly where it leaves
    out 0. Identical scores have p = 1. Where a sample has a single image, the interval is [-1, 1] and p = 1.

    a_id, b_id: (n_id,), a_ood, b_ood: (n_d,) by data set; row by row the same images. images: as in `auroc_metric`.
    Raises `HarnessError` when the numbers of images differ, otherwise as `auroc_metric`.
    """
    a_images, b_images = ({name: np.size(x) for name, x in ood.items()} for ood in (a_ood, b_ood))
    if (np.size(a_id), a_images) != (np.size(b_id), b_images):
        counts = f"{np.size(a_id)} ID and {a_images} OOD images of a, {np.size(b_id)} and {b_images} of b"
        raise HarnessError(f"A paired comparison needs the same images, but there are {counts}.")
    a, b = rank_all(a_id, a_ood, images), rank_all(b_id, {name: b_ood[name] for name in a_ood}, images)
    net = Components.of(b) - Components.of(a)
    if min(net.sizes) < 2:
        return PairedAUROC(net.value, (-1.0, 1.0), sum(net.sizes), 1.0)
    p = min(1.0, 2 * min(_beta(net, -1.0, -1.0).cdf(0.5), _beta(net, 1.0, -1.0).sf(0.5)))
    return PairedAUROC(net.value, _ends(net, -1.0), sum(net.sizes), float(p))


def summary(id_scores: ArrayLike, ood: Groups, images: Names | None = None) -> list[Metric]:
    """All metrics of one detector: AUROC, FPR@95 in both conventions and both AUPRs.

    A group has those of its data sets under the conditions "group/data set", then their unweighted means under "group".
    For each end of FPR's and AUPR's intervals there are 500 random weights of the ID images, the same for all data
    sets, and of the OOD images of each. No interval depends on which other data sets there are, except a mean's.

    id_scores: (n_id,). ood: group to data set to (n_d,) scores, such as {"near": {"ssb_hard": ...}, "far": ...}.
    images: as in `auroc_metric`; resampled as a whole.
    Finite; raises `Undefined` when any of it is empty, because a mean over fewer data sets is a mean of something else.
    """
    parts = _parts(ood)
    named = {name: scores for part in parts.values() for name, scores in part.items()}
    ranked = dict(zip(named, rank_all(id_scores, named, images), strict=True))
    replicates = _bootstrap(ranked)
    metrics = []
    for condition, part in parts.items():
        data = [ranked[name] for name in part]
        metrics.append(_auroc_metric(data, condition))
        metrics += _rate_metrics(data, [replicates[name] for name in part], condition)
    return metrics


def compare(
    a_id: ArrayLike, a_ood: Groups, b_id: ArrayLike, b_ood: Groups, images: Names | None = None
) -> dict[str, PairedAUROC]:
    """`compare_auroc` under each condition of `summary`, whose arguments these are: model a's, then model b's."""
    a, b = _parts(a_ood), _parts(b_ood)
    return {name: compare_auroc(a_id, a.get(name, {}), b_id, b.get(name, {}), images) for name in a | b}


def _parts(ood: Groups) -> dict[str, dict[str, ArrayLike]]:
    """The data sets behind each condition: one alone, or all of a group."""
    parts: dict[str, dict[str, ArrayLike]] = {}
    for group, sets in ood.items():
        if not sets:
            raise Undefined(f"Group '{group}' has no OOD data sets to take a mean of.")
        named = {f"{group}/{name}": scores for name, scores in sets.items()}
        parts |= {name: {name: scores} for name, scores in named.items()} | {group: named}
    return parts


def _auroc_metric(ranked: Sequence[Ranked], condition: str) -> Metric:
    components = Components.of(ranked)
    return _metric("auroc", condition, components.value, _ends(components, 0.0), components.sizes, True)


def _ends(components: Components, low: float) -> Interval:
    """95 % interval of a value between `low` and 1."""
    shares = _beta(components, low, low).ppf(TAIL), _beta(components, 1.0, low).ppf(1 - TAIL)
    bottom, top = (round(low + (1 - low) * float(share), DIGITS) for share in shares)
    return bottom, top


def _beta(components: Components, limit: float, low: float) -> Any:
    """Beta distribution over the range from `low` to 1 that has the moments at a limit."""
    mean, variance = components.moments(limit)
    share = float(np.clip((mean - low) / (1 - low), TINY, 1 - TINY))
    size = share * (1 - share) / max(variance / (1 - low) ** 2, TINY**2) - 1
    return stats.beta(share * size, (1 - share) * size)


def _rate_metrics(ranked: Sequence[Ranked], replicates: Sequence[Floats], condition: str) -> list[Metric]:
    """The `RATES` of one data set, or their means over several. replicates: (2, REPLICATES, 4) per data set."""
    values = np.mean([rates(*data.counts()) for data in ranked], axis=0).tolist()
    # The last bits of a sum depend on the processor; which replicates agree should not.
    worst, best = np.mean(replicates, axis=0).round(DIGITS)
    sizes = ranked[0].sizes[0], *(data.sizes[1] for data in ranked)
    metrics = []
    for k, (name, higher) in enumerate(RATES.items()):
        below, above = (worst, best) if higher else (best, worst)
        ends = [np.quantile(x[:, k], q, method="inverted_cdf") for x, q in ((below, TAIL), (above, 1 - TAIL))]
        metrics.append(_metric(name, condition, values[k], (float(ends[0]), float(ends[1])), sizes, higher))
    return metrics


def _metric(name: str, condition: str, value: float, ends: Interval, sizes: Sequence[int], higher: bool) -> Metric:
    low, high = ends
    interval = (0.0, 1.0) if min(sizes) < 2 else (max(0.0, min(low, value)), min(1.0, max(high, value)))
    return Metric(name, condition, value, interval, sum(sizes), "fraction", higher)


def _bootstrap(ranked: Mapping[str, Ranked]) -> dict[str, Floats]:
    """`rates` of each data set under random weights, (2, REPLICATES, 4): with the worst images added, then the best.

    The weights of ID images serve all data sets.
    """
    first = next(iter(ranked.values()))
    n_id, rows = first.sizes[0], len(first.id) / first.sizes[0]
    id_draws = weight_draws("detection/id", "", n_id, 2 * REPLICATES)
    ood_draws = {
        name: weight_draws("detection/ood", name, data.sizes[1], 2 * REPLICATES) for name, data in ranked.items()
    }
    replicates: dict[str, Floats] = {name: np.empty((2, REPLICATES, len(RATES))) for name in ranked}
    block = max(1, BLOCK // max(data.levels for data in ranked.values()))
    for best in (0, 1):
        for start in range(0, REPLICATES, block):
            count = min(block, REPLICATES - start)
            id_weights, more = weights(id_draws, count)
            for name, data in ranked.items():
                ood_weights, extra = weights(ood_draws[name], count)
                sides = data.counts(id_weights, ood_weights)
                none = np.zeros(count)
                ends = ((none, rows * more), (extra, none)) if best else ((rows * more, none), (none, extra))
                weighed = [_between(side, *pair) for side, pair in zip(sides, ends, strict=True)]
                replicates[name][best, start : start + count] = rates(*weighed)
    return replicates


def _between(counts: Floats, below: Floats, above: Floats) -> Floats:
    """Counts (B, K) with one more below and above all scores, (B,) each."""
    extended = np.empty((len(counts), counts.shape[1] + 2))
    extended[:, 0], extended[:, -1] = below, above
    extended[:, 1:-1] = counts
    return extended


def rates(inside: Floats, outside: Floats) -> Floats:
    """The `RATES` (..., 4) of (..., K) images, or their weights, in and out of distribution by score, lowest first."""
    shape = np.shape(inside)[:-1]
    inside, outside = np.atleast_2d(inside), np.atleast_2d(outside)
    ood_positive, id_positive = (outside, inside), (inside[:, ::-1], outside[:, ::-1])
    ood_first, id_first = ([np.cumsum(side, axis=1) for side in sides] for sides in (ood_positive, id_positive))
    curves = (ood_positive, ood_first), (id_positive, id_first)
    columns = [_fpr95(*sides, *sums) for sides, sums in curves]
    columns += [_aupr(sides[0], *sums) for sides, sums in reversed(curves)]
    return np.stack(columns, axis=1).reshape(*shape, len(RATES))


def _rate(id_scores: ArrayLike, ood_scores: ArrayLike, name: str) -> float:
    return float(rates(*rank(id_scores, ood_scores).counts())[list(RATES).index(name)])


def _fpr95(positives: Floats, negatives: Floats, detected: Floats, flagged: Floats) -> Floats:
    """Rates (B,). positives, negatives: (B, K) images, or their weights, at each threshold, the strictest first.

    detected, flagged: their running sums.
    """
    rows, last = np.arange(len(detected)), detected.shape[1] - 1
    first = np.argmax(detected / detected[:, -1:] >= RECALL, axis=1)
    # The curve bends after a threshold whose step differs from the next one; both its ends count as bends.
    while True:
        after = np.minimum(first + 1, last)
        straight = (first > 0) & (first < last)
        for side in (positives, negatives):
            straight &= side[rows, first] == side[rows, after]
        if not straight.any():
            return flagged[rows, first] / flagged[:, -1]
        first = first + straight


def _aupr(positives: Floats, detected: Floats, flagged: Floats) -> Floats:
    """Areas (B,). Arguments as of `_fpr95`."""
    precision = detected / (detected + flagged)
    both = precision.copy()
    both[:, 0] += 1.0
    both[:, 1:] += precision[:, :-1]
    both *= positives
    return both.sum(1) / (2 * detected[:, -1])
