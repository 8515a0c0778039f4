"""Effective robustness: accuracy under shift beyond what the accuracy without shift predicts.

Taori et al., NeurIPS 2020, section 2; Miller et al., ICML 2021: over many classifiers the two accuracies lie near a
line when both are on the logit scale. The line is fitted by least squares to baseline classifiers; a classifier's
effective robustness is its accuracy under shift minus the line's at its clean accuracy (Taori et al., equation 1).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special

from harness.base.noise import generator
from harness.metrics import intervals
from harness.metrics.intervals import TAIL, Bools, Floats, Interval, Undefined

REPLICATES = 2_000
"""Random weights of the images."""


@dataclass(frozen=True)
class Line:
    """logit(accuracy under shift) = intercept + slope * logit(clean accuracy); r2: share of variance, in [0, 1]."""

    slope: float
    intercept: float
    r2: float

    def __call__(self, clean: Floats) -> Floats:
        """Accuracies under shift, in [0, 1], at clean accuracies in [0, 1]."""
        return np.asarray(special.expit(self.intercept + self.slope * special.logit(clean)))


@dataclass(frozen=True)
class EffectiveRobustness:
    """Two accuracies per classifier, the line, and what is beyond it.

    clean, shifted: (m,) accuracies, (images right + 1/2) / (images + 1), so that the logit of 1 is finite.
    line: through the baseline. residuals: (m,) shifted minus the line's, in [-1, 1]. intervals: 95 %, of each residual.
    baseline: (m,) bool, the classifiers that the line was fitted to.
    """

    clean: Floats
    shifted: Floats
    line: Line
    residuals: Floats
    intervals: Sequence[Interval]
    baseline: Bools


def effective_robustness(clean: Floats, shifted: Floats, baseline: Bools, *, paired: bool) -> EffectiveRobustness:
    """The line and every classifier's residual, with intervals by a bootstrap over images.

    Every replicate weighs the images anew, for all classifiers alike, and fits its own line: intervals hold the line's
    uncertainty over images, not over the choice of the baseline.

    clean: (n_clean, m) answers without shift, in [0, 1]. shifted: (n_shifted, m) per-image means over the conditions of
        the shift. paired: row by row the same source images.
    baseline: (m,) bool. Raises `Undefined` for fewer than three baseline classifiers, or equal clean accuracies.
    """
    clean, shifted = np.asarray(clean, dtype=np.float64), np.asarray(shifted, dtype=np.float64)
    if baseline.sum() < 3:
        raise Undefined(f"Effective robustness: {int(baseline.sum())} baseline classifiers; a line needs at least 3.")
    across, down = (_smooth(answers.sum(axis=0), len(answers)) for answers in (clean, shifted))
    if np.ptp(across[baseline]) < intervals.TINY:
        raise Undefined("Effective robustness: all baseline classifiers have the same clean accuracy.")
    line = _fit(across, down, baseline)
    residuals = down - line(across)
    rng = generator(0, "effective", "")
    drawn = np.empty((REPLICATES, clean.shape[1]))
    for number in range(REPLICATES):
        weights = rng.standard_exponential(len(clean))
        others = weights if paired else rng.standard_exponential(len(shifted))
        x, y = (
            _smooth(w @ answers * (len(w) / w.sum()), len(w)) for w, answers in ((weights, clean), (others, shifted))
        )
        drawn[number] = y - _fit(x, y, baseline)(x)
    low, high = (np.quantile(drawn, tail, axis=0, method="inverted_cdf") for tail in (TAIL, 1 - TAIL))
    ends = zip(np.minimum(low, residuals), np.maximum(high, residuals), strict=True)
    rounded = [(round(float(a), intervals.DIGITS), round(float(b), intervals.DIGITS)) for a, b in ends]
    return EffectiveRobustness(across, down, line, residuals, rounded, np.asarray(baseline))


def _smooth(right: Floats, n: int) -> Floats:
    return np.asarray((right + 0.5) / (n + 1))


def _fit(clean: Floats, shifted: Floats, baseline: Bools) -> Line:
    """The least-squares line of the logits of accuracies (m,)."""
    x, y = special.logit(clean[baseline]), special.logit(shifted[baseline])
    dx, dy = x - x.mean(), y - y.mean()
    slope = float(dx @ dy / max(dx @ dx, intervals.TINY))
    r2 = float(slope * (dx @ dy) / max(dy @ dy, intervals.TINY))
    return Line(slope, float(y.mean() - slope * x.mean()), r2)
