"""Detection of images from outside the classifier's classes: metrics of ID and OOD scores. Pure numpy, float64.

A score is higher the more an image looks in-distribution (ID). Values follow OpenOOD's main branch: tied scores share
one threshold, FPR@95 is read at a corner of the ROC curve, and AUPR joins the points of its curve by straight lines.

Sampling unit: the source image. ID and OOD images are independent samples of fixed sizes, and the data sets of a suite
share one ID sample, so their metrics are correlated: means over data sets take that into account. Where one ID image
comes in several versions, `images` says which rows are the same one. Intervals are two-sided at
95 %: DeLong's for AUROC, the percentile bootstrap's for the others. Where one would shrink to a point, as at perfect
separation, it is Wilson's on as many samples as the smallest sample has images. Where a sample has a single image,
which says nothing about others, it is [0, 1].
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from harness.metrics import LEVEL, TINY, Floats, Interval, Undefined, _agresti_min, _wilson
from harness.noise import generator
from harness.ranks import Components, Ints, Names, Ranked, rank, rank_all
from harness.types import HarnessError, Metric

Groups = Mapping[str, Mapping[str, ArrayLike]]

RECALL = 0.95
REPLICATES = 1_000
Z = float(stats.norm.ppf((1 + LEVEL) / 2))

RATES = {"fpr95_ood_pos": False, "fpr95_id_pos": False, "aupr_in": True, "aupr_out": True}
"""Metrics with bootstrap intervals, in the order of `_rates`, and whether higher is better."""


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
    ranks (Sun & Xu 2014), so one sort is all it takes. The interval is Wald's, cut to [0, 1].

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
    DeLong's with its covariance. interval: Wald's, cut to [-1, 1]. p: that of the standard normal distribution.

    Where that variance is 0, both are those of `metrics.compare_condition` for a difference in as many samples as the
    smallest sample has images: identical scores have p = 1. Where a sample has a single image, the interval is [-1, 1]
    and p = 1.

    a_id, b_id: (n_id,), a_ood, b_ood: (n_d,) by data set; row by row the same images. images: as in `auroc_metric`.
    Raises `HarnessError` when the numbers of images differ, otherwise as `auroc_metric`.
    """
    a_images, b_images = ({name: np.size(x) for name, x in ood.items()} for ood in (a_ood, b_ood))
    if (np.size(a_id), a_images) != (np.size(b_id), b_images):
        found = f"{np.size(a_id)} ID and {a_images} OOD images of a, {np.size(b_id)} and {b_images} of b"
        raise HarnessError(f"A paired comparison needs the same images, but there are {found}.")
    a, b = rank_all(a_id, a_ood, images), rank_all(b_id, {name: b_ood[name] for name in a_ood}, images)
    net = Components.of(b) - Components.of(a)
    difference, error, n, fewest = net.value, net.standard_error, sum(net.sizes), min(net.sizes)
    if fewest < 2:
        return PairedAUROC(difference, (-1.0, 1.0), n, 1.0)
    if not error:
        a_only, b_only = max(0.0, -difference) * fewest, max(0.0, difference) * fewest
        return PairedAUROC(difference, _agresti_min(a_only, b_only, fewest), n, min(1.0, 2 ** (1 - a_only - b_only)))
    interval = max(-1.0, difference - Z * error), min(1.0, difference + Z * error)
    return PairedAUROC(difference, interval, n, float(2 * stats.norm.sf(abs(difference) / error)))


def summary(id_scores: ArrayLike, ood: Groups, images: Names | None = None) -> list[Metric]:
    """All metrics of one detector: AUROC, FPR@95 in both conventions and both AUPRs.

    A group has those of its data sets under the conditions "group/data set", then their unweighted means under "group".
    FPR and AUPR have percentile intervals from 1,000 resamples of the ID images, the same for all data sets, and of the
    OOD images of each. No interval depends on which other data sets there are, except a mean's.

    id_scores: (n_id,). ood: group to data set to (n_d,) scores, such as {"near": {"ssb_hard": ...}, "far": ...}.
    images: as in `auroc_metric`; resampled as a whole.
    Finite; raises `Undefined` when any of it is empty, because a mean over fewer data sets is a mean of something else.
    """
    parts = _parts(ood)
    named = {name: scores for part in parts.values() for name, scores in part.items()}
    ranked = dict(zip(named, rank_all(id_scores, named, images), strict=True))
    replicates = _bootstrap(ranked)
    found = []
    for condition, part in parts.items():
        data = [ranked[name] for name in part]
        found += [_auroc_metric(data, condition), *_rate_metrics(data, [replicates[name] for name in part], condition)]
    return found


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
    found = Components.of(ranked)
    half = Z * found.standard_error
    return _metric("auroc", condition, found.value, (found.value - half, found.value + half), found.sizes, True)


def _rate_metrics(ranked: Sequence[Ranked], replicates: Sequence[Floats], condition: str) -> list[Metric]:
    """The `RATES` of one data set, or their means over several. replicates: (REPLICATES, 4) per data set."""
    values = np.mean([_rates(*data.counts()) for data in ranked], axis=0).tolist()
    # The last bits of a sum depend on the processor; which replicates agree should not.
    means = np.mean(replicates, axis=0).round(12)
    ends = np.quantile(means, ((1 - LEVEL) / 2, (1 + LEVEL) / 2), axis=0, method="inverted_cdf").T.tolist()
    sizes = ranked[0].sizes[0], *(data.sizes[1] for data in ranked)
    return [
        _metric(name, condition, value, (low, high), sizes, RATES[name])
        for name, value, (low, high) in zip(RATES, values, ends, strict=True)
    ]


def _metric(name: str, condition: str, value: float, ends: Interval, sizes: Sequence[int], higher: bool) -> Metric:
    low, high = ends
    if min(sizes) < 2:
        interval = 0.0, 1.0
    elif high - low < TINY:
        interval = _wilson(value, min(sizes))
    else:
        interval = max(0.0, min(low, value)), min(1.0, max(high, value))
    return Metric(name, condition, value, interval, sum(sizes), "fraction", higher)


def _bootstrap(ranked: Mapping[str, Ranked]) -> dict[str, Floats]:
    """`_rates` of each data set in each resample, (REPLICATES, 4); an ID resample serves all data sets."""
    n_id = next(iter(ranked.values())).sizes[0]
    id_rng = generator(0, "detection/id", "")
    ood_rngs = {name: generator(0, "detection/ood", name) for name in ranked}
    replicates: dict[str, Floats] = {name: np.empty((REPLICATES, len(RATES))) for name in ranked}
    for replicate in range(REPLICATES):
        id_images = id_rng.integers(n_id, size=n_id)
        for name, data in ranked.items():
            ood_rows = ood_rngs[name].integers(data.sizes[1], size=data.sizes[1])
            replicates[name][replicate] = _rates(*data.counts(id_images, ood_rows))
    return replicates


def _rates(inside: Ints, outside: Ints) -> tuple[float, ...]:
    """The `RATES` of `counts`."""
    id_positive, ood_positive = (inside[::-1].copy(), outside[::-1].copy()), (outside, inside)
    return _fpr95(*ood_positive), _fpr95(*id_positive), _aupr(*id_positive), _aupr(*ood_positive)


def _rate(id_scores: ArrayLike, ood_scores: ArrayLike, name: str) -> float:
    return dict(zip(RATES, _rates(*rank(id_scores, ood_scores).counts()), strict=True))[name]


def _fpr95(positives: Ints, negatives: Ints) -> float:
    """positives, negatives: (K,) images at each threshold, the strictest first, some at each."""
    found = np.cumsum(positives)
    first = int(np.searchsorted(found / found[-1], RECALL))
    if first:
        # The curve bends after a threshold whose step differs from the next one; both its ends count as bends.
        bends = (np.diff(positives[first:]) != 0) | (np.diff(negatives[first:]) != 0)
        first += int(np.argmax(np.append(bends, True)))
    return float(negatives[: first + 1].sum() / negatives.sum())


def _aupr(positives: Ints, negatives: Ints) -> float:
    """Arguments as of `_fpr95`."""
    found = np.cumsum(positives)
    precision = found / np.cumsum(positives + negatives)
    before = np.concatenate(([1.0], precision[:-1]))
    return float((positives * (precision + before)).sum() / (2 * found[-1]))
