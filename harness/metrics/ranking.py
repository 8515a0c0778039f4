"""Rank confidence sets: the ranks of a board's rows that the test images support, all rows together at 95 %.

Mogstad, Romano, Shaikh & Wilhelm (Review of Economic Studies 91, 2024): test every ordered pair of rows for "the first
is not better", so that with a chance of 95 % no true hypothesis is rejected; a row's rank then lies between one plus
the number of rows that are significantly better, and the number of rows minus those that are significantly worse. The
tests are paired on the same images: the largest studentised difference, its quantile under random weights of the
images, and stepdown (Romano & Wolf, Econometrica 73, 2005). The weights are Gaussian: the multiplier bootstrap of
Chernozhukov, Chetverikov & Kato (Annals of Statistics 41, 2013).

A row's estimate is the sum of the means of one or several independent samples of images: one for an accuracy; for an
AUROC by DeLong's components the images in distribution and each set of images outside. Everything here is a function
of the images' contributions to these means.

Few images call for care, as a difference has no more information than the images on which two rows disagree. With k
of them, in effect, t has the tail of Student's distribution with k - 1 degrees of freedom. Below `FEW` a pair goes by
the exact test of `harness.metrics.intervals`, McNemar's for one condition, adjusted by Holm's method over all pairs of
the board. The exact tests take `EXACT` of the error rate of 5 %, and the bootstrap the rest, so that the sum holds for
both together. A pair whose estimates have no largest difference in one image, such as AUROCs, has no exact test and is
not separable below `FEW`. Boards of `SMALL` rows or fewer with one sample of images go by exact tests throughout, at
the whole error rate: the two rows of a board of two are separable exactly where ``harness compare`` has p < 5 %, and
those of three to five where p is, after Holm's method. results/ranks.md has the joint coverage in simulation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from harness.base.noise import generator
from harness.metrics import intervals
from harness.metrics.intervals import DIGITS, LEVEL, Floats

REPLICATES = 2_000
"""Random weights of the images."""

FEW = 10
"""Effective number of disagreeing images from which a pair goes by the bootstrap."""

SMALL = 5
"""Rows of the largest board that goes by exact tests alone."""

EXACT = 0.01
"""Error rate of the exact tests of a board whose other pairs go by the bootstrap, which has the rest of 5 %."""

CHUNK = 2**22
"""Numbers that are held at once."""

ABREAST = 64
"""Pairs whose deviations are compared at once: they fit the processor's cache."""

Pairs = NDArray[np.bool_]


@dataclass(frozen=True)
class Sample:
    """Contributions of one independent sample of images: to the estimate of one row, or of all rows of a board.

    images: (n,) different names. values: (n,) for one row, (n, p) for a board; a row's estimate is the sum of the means
        of its samples.
    span: the largest difference that two rows can have in one image; infinite where there is none, and so no exact
        test.
    """

    images: NDArray[Any]
    values: Floats
    span: float = np.inf


def stacked(rows: Sequence[Sequence[Sample]]) -> tuple[list[int], list[Sample]]:
    """The places of the rows on the same images, and their samples with a column per row.

    Rows on other images than most are left out; of two sets of as many rows, the first one stays.

    rows: the samples of each row, in any order of the images; at least one row.
    """
    ordered = [[_by_name(sample) for sample in samples] for samples in rows]
    groups: list[list[int]] = []
    for place, samples in enumerate(ordered):
        group = next((g for g in groups if _same_images(ordered[g[0]], samples)), None)
        if group is None:
            groups.append([place])
        else:
            group.append(place)
    places = max(groups, key=len)
    return places, [
        Sample(column[0].images, np.stack([s.values for s in column], axis=1), max(s.span for s in column))
        for column in zip(*(ordered[place] for place in places), strict=True)
    ]


def _same_images(one: Sequence[Sample], other: Sequence[Sample]) -> bool:
    pairs = zip(one, other, strict=False)
    return len(one) == len(other) and all(np.array_equal(a.images, b.images) for a, b in pairs)


def _by_name(sample: Sample) -> Sample:
    order = np.argsort(sample.images.astype(str), kind="stable")
    return Sample(sample.images.astype(str)[order], sample.values[order], sample.span)


def separable(samples: Sequence[Sample], higher_is_better: bool = True) -> Pairs:
    """(p, p) bool: row i is significantly better than row j; jointly, none is by mistake in 95 % of samples of images.

    samples: of all rows on the same images, p >= 1 columns each. An estimate is the sum of the samples' means.
    Equal columns are never separable. The same contributions give the same answer to the bit.
    """
    sign = 1.0 if higher_is_better else -1.0
    # Differences are all that counts: centred, they are exact where rows are almost alike.
    centred = [sign * (s.values - s.values.mean(axis=1, keepdims=True)) for s in samples]
    span = samples[0].span if len(samples) == 1 else np.inf
    rows = centred[0].shape[1]
    if rows <= SMALL and np.isfinite(span):
        return _by_exact_tests(centred[0], span, *np.triu_indices(rows, 1), rows * (rows - 1), 1 - LEVEL)
    # Copies of a row change no maximum; they do count as hypotheses of the exact tests.
    whole = np.concatenate([sample.values for sample in samples]).T
    first: dict[bytes, int] = {}
    place = np.array([first.setdefault(row.tobytes(), len(first)) for row in whole])
    kept = np.unique(place, return_index=True)[1]
    different = [values[:, kept] for values in centred]
    one, other = np.triu_indices(len(kept), 1)
    variance, images = _spread(different, one, other)
    many = images >= FEW
    better = _by_stepdown(different, one[many], other[many], variance[many], images[many])
    few = ~many & (images > 0)
    if np.isfinite(span) and few.any():
        better |= _by_exact_tests(different[0], span, one[few], other[few], rows * (rows - 1), EXACT)
    return better[np.ix_(place, place)]


def sets(better: Pairs) -> list[tuple[int, int]]:
    """Best and worst rank of each row, from 1. better: of `separable`."""
    first, last = 1 + better.sum(axis=0), len(better) - better.sum(axis=1)
    return list(zip(first.tolist(), last.tolist(), strict=True))


def _by_exact_tests(values: Floats, span: float, first: Any, second: Any, hypotheses: int, rate: float) -> Pairs:
    """Exact tests of some pairs of rows, each ordered pair a one-sided hypothesis, adjusted by Holm's method.

    first, second: (m,) rows of the pairs. hypotheses: those of the whole board, of which all others count as not
    rejected. rate: the error rate of all together.
    """
    better = np.zeros((values.shape[1], values.shape[1]), dtype=bool)
    # With gains c_i in units of the span and one image that was not seen, p is at least prod 1 / (1 + c_i), the chance
    # that this image outweighs all gains, and so at least exp(-sum c_i): most pairs need no test.
    least = np.log((hypotheses - len(first) + 1) / rate)
    pairs, p = [], []
    for i, j in zip(first.tolist(), second.tolist(), strict=True):
        difference = values[:, i] - values[:, j]
        total = difference.sum()
        if (np.abs(difference).sum() + abs(total)) / (2 * span) > least:
            pairs.append((i, j) if total > 0 else (j, i))
            p.append(intervals.p_value(difference, -span, span) / 2)
    # Holm's method by hand: his number of hypotheses is the board's, and a million of these are never listed.
    order = np.argsort(p, kind="stable")
    adjusted = np.maximum.accumulate(np.array(p)[order] * (hypotheses - np.arange(len(p))))
    for k in order[adjusted < rate]:
        better[pairs[k]] = True
    return better


def _by_stepdown(values: Sequence[Floats], first: Any, second: Any, variance: Floats, images: Floats) -> Pairs:
    """Max-t over the ordered pairs of some rows, again over those that are left until none is rejected.

    first, second: (m,) rows of the pairs. variance, images: as of `_spread`.
    """
    rows = values[0].shape[1]
    error, freedom = np.sqrt(variance), images - 1
    better = np.zeros((rows, rows), dtype=bool)
    if not len(error):
        return better
    estimates = sum(v.mean(axis=0) for v in values)
    t = (estimates[first] - estimates[second]) / error
    t = (np.sign(t) * stats.norm.isf(np.maximum(stats.t.sf(np.abs(t), freedom), 1e-300))).round(DIGITS)
    deviations = np.ascontiguousarray(_reweighted(values).T)
    left = np.ones((2, len(t)), dtype=bool)
    while left.any():
        critical = _quantile(deviations, first, second, error, left)
        rejected = left & (np.stack((t, -t)) > critical)
        if not rejected.any():
            break
        left &= ~rejected
    better[first[~left[0]], second[~left[0]]] = True
    better[second[~left[1]], first[~left[1]]] = True
    return better


def _spread(values: Sequence[Floats], first: Any, second: Any) -> tuple[Floats, Floats]:
    """Variance of the estimate of each pair's difference, (m,), and the effective number of images that it hangs on.

    That number is (sum d^2)^2 / sum d^4 over the images' shares d in the difference: for one condition exactly the
    images on which two classifiers disagree; one image with a large share does not hide behind many with small ones.
    """
    variance, squares, fourths = np.zeros((3, len(first)))
    for v in values:
        n = len(v)
        gram = v.T @ v
        square = gram[first, first] + gram[second, second] - 2 * gram[first, second]
        mean = v.mean(axis=0)
        variance += np.maximum(square / n - (mean[first] - mean[second]) ** 2, 0.0) / n
        squares += square / n**2
        v2, v3 = v * v, v * v * v
        even, odd = v2.T @ v2, v3.T @ v
        fourth = even[first, first] + even[second, second] + 6 * even[first, second]
        fourths += (fourth - 4 * (odd[first, second] + odd[second, first])) / n**4
    with np.errstate(divide="ignore", invalid="ignore"):
        images = np.where(fourths > 0, squares**2 / fourths, 0.0).round(6)
    # A difference without any variation would be infinitely many standard errors.
    return variance, np.where(variance > 1e-18, images, 0.0)


def _reweighted(values: Sequence[Floats]) -> Floats:
    """(REPLICATES, p) deviations of the estimates under random weights of the images."""
    deviations = np.zeros((REPLICATES, values[0].shape[1]))
    for number, v in enumerate(values):
        n, around = len(v), v - v.mean(axis=0)
        if REPLICATES * n <= CHUNK:
            deviations += _weights(number, n) @ around / n
            continue
        rng, step = generator(0, "ranks", str(number)), max(1, CHUNK // n)
        for start in range(0, REPLICATES, step):
            count = min(step, REPLICATES - start)
            deviations[start : start + count] += rng.standard_normal((count, n)) @ around / n
    return deviations


@lru_cache(maxsize=4)
def _weights(number: int, n: int) -> Floats:
    """(REPLICATES, n) weights of the images of a sample; boards of the same test images share them."""
    return generator(0, "ranks", str(number)).standard_normal((REPLICATES, n))


def _quantile(deviations: Floats, first: Any, second: Any, error: Floats, left: Pairs) -> float:
    """The quantile of the largest studentised deviation among the ordered pairs that are left, at 95 % plus `EXACT`.

    deviations: (p, REPLICATES). left: (2, m), the pairs as they are and turned round.
    """
    most = np.full(deviations.shape[1], -np.inf)
    for pairs, a, b, magnitude in (
        (left.all(axis=0), first, second, True),
        (left[0] & ~left[1], first, second, False),
        (left[1] & ~left[0], second, first, False),
    ):
        places = np.flatnonzero(pairs)
        for start in range(0, len(places), ABREAST):
            part = places[start : start + ABREAST]
            t = deviations[a[part]] - deviations[b[part]]
            t /= error[part, None]
            np.maximum(most, (np.abs(t, out=t) if magnitude else t).max(axis=0), out=most)
    rank = int(np.ceil((LEVEL + EXACT) * (len(most) + 1)))
    return float(np.sort(most)[rank - 1].round(DIGITS))
