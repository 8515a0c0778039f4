"""How honest class probabilities are: negative log-likelihood and expected calibration error, with intervals.

Arguments are (n_images, n_conditions), row by row the same source images; one condition is one column. As everywhere,
intervals are over source images, which `harness.metrics` says more of.
"""

from __future__ import annotations

import numpy as np

from harness.metrics import Bools, Floats, mean_value
from harness.types import Metric

BINS = 15
"""Bins of equal width (Guo et al., ICML 2017, section 5)."""

LEAST = float(np.finfo(np.float32).tiny)
"""What a probability of zero counts as: float32 has no smaller normal number, and its logarithm is -87.3."""


def nll(probability: Floats, condition: str) -> Metric:
    """Mean negative log-likelihood in nats, -log p of the true class; proper, so that it also rewards accuracy.

    probability: of the true class, in [0, 1]. Raises `Undefined` for fewer than two images.
    """
    per_image = -np.log(np.maximum(np.asarray(probability, dtype=np.float64), LEAST)).mean(axis=1)
    return mean_value(per_image, "nll", condition, "nats")


def ece(correct: Bools, confidence: Floats, condition: str) -> Metric:
    """Expected calibration error: sum over bins of (n_b / n) |accuracy_b - confidence_b| (Guo et al. 2017, equation 3).

    Over several conditions the unweighted mean of each one's. Biased upwards by noise within bins, so that values of
    different n do not compare.

    The interval is the delta method's: with the sign of every bin's gap taken for known, ECE is the mean over images of
    sign * (correct - confidence). Where many gaps are near zero it is too narrow.

    confidence: of the predicted class, in [0, 1]. Raises `Undefined` for fewer than two images.
    """
    confidence = np.asarray(confidence, dtype=np.float64)
    gaps = np.asarray(correct, dtype=np.float64) - confidence
    # Bins are closed on the right, as in the paper; sums of probabilities may exceed 1 by a rounding.
    bins = np.clip(np.ceil(confidence * BINS).astype(np.int64) - 1, 0, BINS - 1)
    per_image = np.zeros(len(gaps))
    for gap, place in zip(gaps.T, bins.T, strict=True):
        per_image += np.sign(np.bincount(place, gap, minlength=BINS))[place] * gap / gaps.shape[1]
    return mean_value(per_image, "ece", condition, "fraction")
