"""The usual intervals, which coverage.py measures beside those of the harness."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from harness.base.noise import generator
from harness.metrics import intervals, ood
from harness.metrics.delong import Components, rank
from harness.metrics.intervals import TAIL

Array = NDArray[np.floating[Any]]
Ends = tuple[Any, Any]
"""Lower and upper end of an interval."""

Z = float(stats.norm.isf(TAIL))
"""Normal quantile of a two-sided 95 % interval."""


def student(x: Array) -> Ends:
    """Student's t interval of the mean of x (n,)."""
    half = stats.t.isf(TAIL, len(x) - 1) * x.std(ddof=1) / np.sqrt(len(x))
    return x.mean() - half, x.mean() + half


def effective(x: Array) -> Ends:
    """Wilson's interval of the mean of x (n,) on the effective size, with Korn and Graubard's degrees of freedom."""
    mean, variance = x.mean(), x.var(ddof=1) / len(x)
    size = mean * (1 - mean) / variance * (Z / stats.t.isf(TAIL, len(x) - 1)) ** 2 if variance else float(len(x))
    centre, half = mean + Z**2 / 2 / size, Z * np.sqrt(mean * (1 - mean) / size + Z**2 / 4 / size**2)
    return (centre - half) / (1 + Z**2 / size), (centre + half) / (1 + Z**2 / size)


def wald(sample: tuple[Array, Array]) -> tuple[float, float]:
    """AUROC of ID and OOD scores, and DeLong's standard error."""
    components = Components.of([rank(*sample)])
    inside, outside = components.id, components.ood[0]
    return components.value, float(np.sqrt(inside.var(ddof=1) / len(inside) + outside.var(ddof=1) / len(outside)))


def delong(sample: tuple[Array, Array]) -> Ends:
    """Wald's interval of AUROC; Wilson's where there is no variance."""
    value, error = wald(sample)
    return (value - Z * error, value + Z * error) if error > 1e-9 else effective(np.repeat(value, len(sample[0])))


def logit(sample: tuple[Array, Array]) -> Ends:
    """DeLong's interval of AUROC on the logit scale; Clopper and Pearson's where there is no variance."""
    value, error = wald(sample)
    if error < 1e-9:
        return intervals.of_mean(np.repeat(value, len(sample[0])))
    half = Z * error / value / (1 - value)
    return tuple(float(stats.logistic.cdf(stats.logistic.ppf(value) + sign * half)) for sign in (-1, 1))


def percentile(sample: tuple[Array, Array]) -> Array:
    """Percentile bootstrap of `ood.RATES`: lower and upper ends, (2, 4)."""
    rng, ranked = generator(0, "coverage/percentile", ""), rank(*sample)
    n, m = map(len, sample)
    drawn = zip(rng.multinomial(n, np.full(n, 1 / n), 400), rng.multinomial(m, np.full(m, 1 / m), 400), strict=True)
    rates = []
    for weights in drawn:
        counts = np.stack(ranked.counts(*weights))
        rates.append(ood.rates(*counts[:, counts.sum(0) > 0]))
    return np.quantile(rates, (TAIL, 1 - TAIL), axis=0)


def delta(sample: tuple[Array, Array, Array]) -> Ends:
    """Student's t interval of ECE, as if the signs of the gaps in its bins were certain."""
    correct, confidence, _ = sample
    gap, place = (correct - confidence)[:, 0], np.clip(np.ceil(confidence[:, 0] * 15).astype(int) - 1, 0, 14)
    low, high = student(np.sign(np.bincount(place, gap, minlength=15))[place] * gap)
    return max(0.0, low), high
