"""Effective robustness: accuracy under shift beyond what the accuracy without shift predicts.

Taori et al., NeurIPS 2020, section 2; Miller et al., ICML 2021: over many classifiers the two accuracies lie near a
line when both are on the logit scale. The line is fitted by least squares to baseline classifiers; a classifier's
effective robustness is its accuracy under shift minus the line's at its clean accuracy (Taori et al., equation 1).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special, stats

from harness.base.noise import generator
from harness.metrics import intervals
from harness.metrics.intervals import TAIL, Bools, Floats, Interval, Undefined

REPLICATES = 1_000
"""Random weights of the images."""

DIGITS = intervals.DIGITS - 2
"""Decimals of intervals: logarithms differ more between processors."""

RELIABLE = 0.95
"""Reliability from which on intervals hold the truth in 9 of 10 samples or more: see `effective_robustness`."""


@dataclass(frozen=True)
class FittedLine:
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
    reliability: share of the spread of the baseline's clean logits that is not sampling noise, in [0, 1].
    """

    clean: Floats
    shifted: Floats
    line: FittedLine
    residuals: Floats
    intervals: Sequence[Interval]
    baseline: Bools
    reliability: float


def effective_robustness(clean: Floats, shifted: Floats, baseline: Bools, *, paired: bool) -> EffectiveRobustness:
    """The line and every classifier's residual, with intervals: normal, by the bootstrap's deviation over images.

    Every replicate weighs the images anew, for all classifiers alike, and fits its own line: intervals hold the line's
    uncertainty over images, not over the choice of the baseline. Noise of the clean accuracies makes the fitted line
    flatter than the true one, which no interval of this kind sees. In simulation with ten classifiers they held the
    truth in 94 to 96 % of samples at a reliability (Fuller 1987, Measurement Error Models) of 0.98, in 92 % at 0.95, in
    60 to 86 % where most of the spread was noise.

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
    rng, drawn, noise = generator(0, "effective", ""), [], 0.0
    centred = _centred(across[baseline])
    for _ in range(REPLICATES):
        weights = rng.standard_exponential(len(clean))
        others = weights if paired else rng.standard_exponential(len(shifted))
        x, y = (_smooth(w @ a * (len(w) / w.sum()), len(w)) for w, a in ((weights, clean), (others, shifted)))
        drawn.append(y - _fit(x, y, baseline)(x))
        noise += float(((_centred(x[baseline]) - centred) ** 2).sum()) / REPLICATES
    reach = stats.norm.isf(TAIL) * np.std(drawn, axis=0)
    ends = [(float(low), float(high)) for low, high in zip(residuals - reach, residuals + reach, strict=True)]
    rounded = [(round(max(-1.0, low), DIGITS), round(min(1.0, high), DIGITS)) for low, high in ends]
    reliability = max(0.0, 1 - noise / float(centred @ centred))
    return EffectiveRobustness(across, down, line, residuals, rounded, baseline, round(reliability, DIGITS))


def _centred(accuracies: Floats) -> Floats:
    logits = special.logit(accuracies)
    return np.asarray(logits - logits.mean())


def _smooth(right: Floats, n: int) -> Floats:
    return np.asarray((right + 0.5) / (n + 1))


def _fit(clean: Floats, shifted: Floats, baseline: Bools) -> FittedLine:
    """The least-squares line of the logits of accuracies (m,)."""
    x, y = special.logit(clean[baseline]), special.logit(shifted[baseline])
    dx, dy = x - x.mean(), y - y.mean()
    slope = float(dx @ dy / max(dx @ dx, intervals.TINY))
    r2 = float(slope * (dx @ dy) / max(dy @ dy, intervals.TINY))
    return FittedLine(slope, float(y.mean() - slope * x.mean()), r2)
