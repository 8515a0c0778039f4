"""Paired comparisons of two models on the same images: differences with intervals, exact tests, Holm's adjustment.

Sampling unit: the source image, as in `harness.metrics.accuracy`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests

from harness.metrics import intervals
from harness.metrics.accuracy import as_bools
from harness.metrics.intervals import Bools, Floats, Interval


@dataclass(frozen=True)
class PairedResult:
    """Model b against model a on the same samples.

    difference: accuracy of b minus accuracy of a, in [-1, 1]; positive when b is better.
    interval: 95 % interval of the difference.
    n: source images.
    a_only, b_only: rows that only a, or only b, gets right.
    p: two-sided p-value of equal means, over source images; below 5 % exactly where the interval leaves out 0.
    p_rows: exact McNemar p-value over rows; None where an image has several, which are not independent.
    """

    difference: float
    interval: Interval
    n: int
    a_only: int
    b_only: int
    p: float
    p_rows: float | None


def compare_condition(a_correct: Bools, b_correct: Bools) -> PairedResult:
    """Two models on the same samples of one condition.

    p: exact McNemar test, a binomial test on the samples that only one model gets right. The interval is the one of
    `harness.metrics.intervals` for differences; it leaves out 0 exactly where p is below 5 %.

    a_correct, b_correct: (n,) bool, row by row the same samples. Raises `Undefined` when n is 0.
    """
    a, b = as_bools(1, a_correct, b_correct)
    n, a_only, b_only = len(a), int((a & ~b).sum()), int((b & ~a).sum())
    p = float(mcnemar([[0, a_only], [b_only, 0]], exact=True).pvalue)
    interval = intervals.of_mean(b.astype(float) - a, -1.0, 1.0)
    return PairedResult((b_only - a_only) / n, interval, n, a_only, b_only, p, p)


def compare_clustered(a_correct: Bools, b_correct: Bools) -> PairedResult:
    """Two models on the same images under the same conditions: difference of their unweighted means.

    p: that the means over all such images are equal, not that the models are exchangeable, however skewed the
        differences are: a model that is a little better on most images and wrong throughout on a few unseen ones is
        not called better. A sign-flip test, studentised or not, calls it so: it takes differences for symmetric.

    a_correct, b_correct: (n_images, n_conditions) bool, the same images in the same order. Raises `Undefined` if empty.
    """
    a, b = as_bools(2, a_correct, b_correct)
    if a.shape[1] == 1:
        return compare_condition(a[:, 0], b[:, 0])
    a_only, b_only = int((a & ~b).sum()), int((b & ~a).sum())
    differences = b.mean(axis=1) - a.mean(axis=1)
    return PairedResult(
        difference=(b_only - a_only) / a.size,
        interval=intervals.of_mean(differences, -1.0, 1.0),
        n=len(a),
        a_only=a_only,
        b_only=b_only,
        p=intervals.p_value(differences, -1.0, 1.0),
        p_rows=None,
    )


@dataclass(frozen=True)
class PairedMeans:
    """Mean of b minus mean of a over the same samples: its 95 % t interval, n, and p of the paired t test."""

    difference: float
    interval: Interval
    n: int
    p: float


def compare_values(a: Floats, b: Floats) -> PairedMeans:
    """Two means of numbers over the same samples, such as log-probabilities or cosines.

    a, b: (n,), row by row the same samples. Raises `Undefined` for fewer than two, and for differences that are all
    the same, none included: their spread is unknown.
    """
    differences = np.asarray(b, dtype=np.float64) - np.asarray(a, dtype=np.float64)
    interval = intervals.student(differences, "difference")
    mean = float(differences.mean())
    p = float(2 * stats.t.sf(abs(mean) / stats.sem(differences), len(differences) - 1))
    return PairedMeans(mean, interval, len(differences), p)


def holm(p: Sequence[float]) -> list[float]:
    """p-values adjusted for their number (Holm 1979): below 5 % where the whole table's error rate is kept at 5 %."""
    return [float(value) for value in multipletests(p, method="holm")[1]] if len(p) else []
