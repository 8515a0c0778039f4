"""The estimate that every metric of generated images returns, and the checks that all of them share.

Intervals are about other samples of the same generator, beside the same reference, which all rows of a table share.
Metrics that are a share of the reference images add the choice of these.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats
from statsmodels.stats.proportion import proportion_confint

from harness.metrics.intervals import DIGITS, TAIL, Bools, Floats, Interval
from harness.types import HarnessError, Metric


@dataclass(frozen=True)
class IntervalEstimate:
    """A value with its interval.

    interval: 95 %, two-sided. n: generated samples.
    """

    value: float
    interval: Interval
    n: int

    def metric(self, name: str, condition: str, unit: str, higher_is_better: bool) -> Metric:
        """The estimate under a name."""
        return Metric(name, condition, self.value, self.interval, self.n, unit, higher_is_better)


def normal(value: float, deviation: float, n: int) -> IntervalEstimate:
    """Estimate with a normal interval. deviation: standard error of the value, from n samples."""
    reach = float(stats.norm.isf(TAIL) * deviation)
    return IntervalEstimate(value, (round(value - reach, DIGITS), round(value + reach, DIGITS)), n)


def share(members: Bools, samples: int, spread: float = 0.0) -> IntervalEstimate:
    """Share of the true ones, with the interval of Clopper & Pearson 1934.

    members: (n,) bool. samples: generated ones. spread: variance of the share beyond the sampling of the members, such
    as that of the set which they are compared with; n then is reduced to the number that has the same variance (Korn &
    Graubard 1998).
    """
    value, n = float(members.mean()), len(members)
    own = value * (1 - value) / n
    effective = n * own / (own + spread) if own else n
    low, high = proportion_confint(value * effective, effective, alpha=2 * TAIL, method="beta")
    return IntervalEstimate(value, (round(float(low), DIGITS), round(float(high), DIGITS)), samples)


def matrix(features: ArrayLike, name: str) -> Floats:
    """Features as (N, D) float64. name: of the set, for messages; raises HarnessError for other shapes, NaN and inf."""
    rows = np.asarray(features, dtype=np.float64)
    if rows.ndim != 2 or not rows.size:
        raise HarnessError(f"{name}: features have shape {rows.shape}; expected (samples, dimensions), none of them 0.")
    bad = np.flatnonzero(~np.isfinite(rows).all(axis=1))
    if bad.size:
        raise HarnessError(
            f"{name}: {bad.size} of {len(rows)} rows have features that are NaN or infinite, the first is row "
            f"{bad[0]}. Check the images and the extractor; float16 features may overflow."
        )
    return rows


def matrices(generated: ArrayLike, reference: ArrayLike) -> tuple[Floats, Floats]:
    """Both sets as (M, D) and (N, D) float64; raises HarnessError where they do not fit together."""
    first, second = matrix(generated, "Generated set"), matrix(reference, "Reference set")
    same_dimension(first.shape[1], second.shape[1])
    return first, second


def same_dimension(generated: int, reference: int) -> None:
    """Raise HarnessError unless both dimensions are equal."""
    if generated != reference:
        raise HarnessError(
            f"The generated set has {generated} dimensions, the reference {reference}: "
            "compute the features of both with the same extractor and layer."
        )
