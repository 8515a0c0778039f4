"""Confidence intervals and tests for the mean of a bounded quantity: one number per source image, nothing else assumed.

Gaffke's bound (Mathematical Methods of Statistics 14, 2005). The upper end for a mean of n values in [0, 1] adds one
image that has the value 1, weighs the n + 1 images by a flat Dirichlet distribution, and takes the 97.5 % quantile of
the weighted mean; the lower end adds an image that has the value 0 and takes the 2.5 % quantile. It holds what other
intervals leave out: the images that the sample does not show, such as rare ones wrong under every condition.

Special cases are classical. For answers that are right or wrong the ends are those of Clopper & Pearson 1934; for the
difference of two models under one condition, in {-1, 0, 1}, the test that belongs to them is McNemar's exact one. That
the level holds for every distribution is proved for those and, in general, a conjecture without a counterexample
(Learned-Miller & Thomas 2020, arXiv:1905.06208); results/coverage.md has what was simulated here.

The quantiles are computed, not drawn: a Dirichlet mean lies above c with the probability that a sum of independent
Gamma variates, weighted by value - c, is positive, which is a contour integral through a saddle point.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, special, stats
from statsmodels.stats.proportion import proportion_confint

from harness.types import HarnessError

Floats = NDArray[np.floating[Any]]
Bools = NDArray[np.bool_]
Interval = tuple[float, float]

LEVEL = 0.95
"""Confidence level of every interval, two-sided."""

TAIL = (1 - LEVEL) / 2

TINY = 1e-12
"""Smaller differences are rounding."""

DIGITS = 10
"""Ends are rounded to so many decimals: the last bits depend on the processor, metrics should not."""

GRID = 512
"""Values that differ by less than 1 / GRID of the range count as their mean where there are more different ones."""

STEPS = np.arange(65) / 8
"""Places on the contour, in units of its curvature at the saddle point; the integrand falls off like exp(-cosh)."""

SINH, COSH = np.sinh(STEPS), np.cosh(STEPS)


class Undefined(HarnessError):
    """The data do not determine this metric; the message says why. A report leaves the metric out and quotes it."""


def student(values: Floats, name: str) -> Interval:
    """95 % t interval of the mean of values without bounds (n,): it assumes that means of n are close to normal.

    name: of the quantity, in messages. Raises `Undefined` for fewer than two values, and for equal ones, whose spread
    is unknown.
    """
    if len(values) < 2:
        raise Undefined(f"{name}: an interval needs at least two images, and here are {len(values)}.")
    if np.ptp(values) < TINY:
        raise Undefined(f"{name}: all images have the same value, {values[0]:g}; an interval needs some spread.")
    half = float(stats.t.isf(TAIL, len(values) - 1) * stats.sem(values))
    mean = float(np.mean(values))
    return round(mean - half, DIGITS), round(mean + half, DIGITS)


def of_mean(values: Floats | Bools, low: float = 0.0, high: float = 1.0, tail: float = TAIL) -> Interval:
    """95 % interval of the mean of values in [low, high], one per source image.

    values: (n,), n >= 1, within a rounding of [low, high]; low < high. tail: chance that each end misses the mean.
    """
    share = _shares(values, low, high)
    n, right = len(share), share.sum()
    if right == np.count_nonzero(share):
        bottom, top = proportion_confint(right, n, alpha=2 * tail, method="beta")
    else:
        bottom = 1 - _upper(*_levels(1 - share), tail)
        top = _upper(*_levels(share), tail)
    return round(low + (high - low) * float(bottom), DIGITS), round(low + (high - low) * float(top), DIGITS)


def of_median(values: Floats) -> tuple[float, Interval]:
    """Median of a sample and its 95 % interval by order statistics, for any distribution (Clopper & Pearson's level).

    The k-th smallest and the k-th largest value, where k or more of n fair coins show heads with a chance of 97.5 %.

    values: (n,), infinite where only a lower bound is known. Raises `Undefined` where an end lies among these, and for
    samples of fewer than six, which no order statistics of this level belong to.
    """
    ordered = np.sort(np.asarray(values, dtype=np.float64))
    n = len(ordered)
    rank = int(stats.binom.ppf(TAIL, n, 0.5))
    if rank < 1:
        raise Undefined(f"A median has no 95 % interval with {n} images; it takes 6.")
    low, high = float(ordered[rank - 1]), float(ordered[n - rank])
    if not np.isfinite(high):
        known = int(np.isfinite(ordered).sum())
        raise Undefined(f"The interval of the median reaches beyond the {known} known values.")
    return float(np.median(ordered)), (low, high)


def p_value(values: Floats, low: float, high: float, mean: float = 0.0) -> float:
    """Two-sided p-value of the hypothesis that the mean of values in [low, high] is `mean`.

    Below 5 % exactly where `of_mean` leaves `mean` out. Arguments: as of `of_mean`.
    """
    share, point = _shares(values, low, high), (mean - low) / (high - low)
    above = exceeds(*_levels(share), point)
    below = exceeds(*_levels(1 - share), 1 - point)
    return min(1.0, 2 * min(above, below))


def of_trainings(values: Floats, low: float = -np.inf, high: float = np.inf) -> Interval:
    """95 % t interval of the mean over trainings, cut at low and high; NaN for equal values, whose spread is unknown.

    values: (n,), n >= 2, one per training.
    """
    if np.ptp(values) < TINY:
        return float("nan"), float("nan")
    half = stats.t.ppf(1 - TAIL, len(values) - 1) * stats.sem(values)
    bottom, top = np.clip([values.mean() - half, values.mean() + half], low, high)
    return float(bottom), float(top)


def p_of_trainings(values: Floats) -> float:
    """Two-sided p-value of a mean of 0 over trainings, by Student's t; NaN for equal differences.

    values: (n,) differences, n >= 2.
    """
    if np.ptp(values) < TINY:
        return float("nan")
    return float(2 * stats.t.sf(abs(values.mean()) / stats.sem(values), len(values) - 1))


def exceeds(levels: Floats, counts: Floats, point: float) -> float:
    """Chance that a mean with random weights lies above `point`: one end's p-value where the last level is the limit.

    levels: (K,) different values. counts: (K,) their shares of the flat Dirichlet distribution, in images.
    """
    a = levels - point
    if a.max() <= 0:
        return 0.0
    if a.min() >= 0:
        return 1.0
    # Left of the saddle point the contour would pass on the other side of the pole at 0.
    return _above_zero(a, counts) if a @ counts <= 0 else 1 - _above_zero(-a, counts)


def _above_zero(a: Floats, counts: Floats) -> float:
    """P(sum of a_k G_k > 0), G_k ~ Gamma(counts_k), for a mean <= 0: the inversion of the moment generating function.

    With K(s) = -sum counts log(1 - a s) it is the integral of exp(K(s)) / s along any path that crosses the real axis
    between 0 and 1 / max a, over 2 pi i. The path here does so at the minimum of K and leaves it in the direction of
    steepest descent, to second order; trapezoids then converge exponentially (Butler 2007, Saddlepoint Approximations).
    """
    most = 1 / a.max()

    def slope(s: float) -> float:
        return float(counts @ (a / (1 - a * s)))

    last = most * (1 - 1e-12)
    saddle = float(optimize.brentq(slope, 0.0, last, xtol=1e-9 * most, rtol=1e-6)) if slope(0.0) < 0 else 0.0
    saddle = max(saddle, 0.5 / float(np.sqrt(counts @ a**2)))
    ratio = a / (1 - a * saddle)
    second, third = counts @ ratio**2, 2 * (counts @ ratio**3)
    scale, factors = 1 / np.sqrt(second), np.ones(1)
    bend = 2 * scale * third / (3 * second)
    # The second order is good near the saddle point only; a straight path never leads uphill.
    while factors.size == 1 or factors.max() > 1:
        bend = bend / 2 if abs(bend) > 0.01 else 0.0
        steps = scale * (1j * SINH + bend * (COSH - 1))
        logarithms = counts @ np.log(1 - ratio[:, None] * steps)
        factors = np.abs(np.exp(-logarithms))
    height = np.exp(-(counts @ np.log(1 - a * saddle)))
    heights = height * np.exp(-logarithms) / (saddle + steps) * scale * (COSH - 1j * bend * SINH)
    heights[0] /= 2
    return float(heights.real.sum() * STEPS[1] / np.pi)


def _upper(levels: Floats, counts: Floats, tail: float) -> float:
    """The quantile of the mean with random weights that it exceeds with a chance of `tail`."""
    n = counts.sum()
    mean = float(counts @ levels / n)
    spread = float(np.sqrt(counts @ (levels - mean) ** 2 / n / (n + 1)))
    if not spread:
        return mean
    limit, reach, aim = float(levels.max()), 3.0, special.ndtri(tail)
    while (end := min(limit, mean + reach * spread)) < limit and exceeds(levels, counts, end) >= tail:
        reach *= 1.5

    def excess(point: float) -> float:
        return float(aim - special.ndtri(np.clip(exceeds(levels, counts, point), 1e-300, 1 - 1e-15)))

    return float(optimize.brentq(excess, mean, end, xtol=TINY / 10))


def _levels(share: Floats) -> tuple[Floats, Floats]:
    """Different values and how often each occurs, with one image at the limit of 1."""
    # Sums that differ in their last bits are one level.
    levels, place, counts = np.unique(share.round(12), return_inverse=True, return_counts=True)
    if len(levels) > GRID:
        _, place, counts = np.unique((share * GRID).astype(np.int64), return_inverse=True, return_counts=True)
        levels = np.bincount(place, share) / counts
    return np.append(levels, 1.0), np.append(counts, 1).astype(np.float64)


def _shares(values: Floats | Bools, low: float, high: float) -> Floats:
    share = (np.asarray(values, dtype=np.float64) - low) / (high - low)
    if share.ndim != 1 or not ((share >= -1e-6) & (share <= 1 + 1e-6)).all():
        raise ValueError(f"expected a vector of finite numbers in [{low:g}, {high:g}], got shape {share.shape}")
    if not share.size:
        raise Undefined("No samples: there is nothing to take a mean of.")
    return share.clip(0.0, 1.0)
