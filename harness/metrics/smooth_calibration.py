"""Smooth calibration error: the gap between accuracy and confidence, smoothed by a kernel instead of cut into bins.

Błasiok & Nakkiran, ICLR 2024, "Smooth ECE: Principled Reliability Diagrams via Kernel Smoothing".

The reflected Gaussian kernel is the heat kernel of [0, 1] with insulated ends, so that smoothing multiplies the k-th
coefficient of a cosine series by exp(-(pi k sigma)^2 / 2).
"""

from __future__ import annotations

from functools import cache

import numpy as np
from scipy import fft, optimize

from harness.base.noise import generator
from harness.metrics import intervals
from harness.metrics.calibration import CERTAIN
from harness.metrics.intervals import TAIL, Bools, Floats, Undefined
from harness.types import Metric

CELLS = 2_048
"""Cells of [0, 1] that residuals are binned into: a bandwidth of 0.005 covers ten."""

COARSE = 256
"""Cells for the draws of chance."""

REPLICATES = 1_000
"""Draws of the gaps that chance alone makes."""


def smooth_ece(correct: Bools, confidence: Floats, condition: str) -> Metric:
    """Smooth expected calibration error, in [0, 1]: the integral over [0, 1] of the absolute smoothed residual.

    The bandwidth is the fixed point: the one that equals the error found with it (section 3.2). Unlike that of bins it
    is continuous in the confidences. Over several conditions the unweighted mean of each one's.

    The interval is of the kind that `harness.metrics.calibration.ece` has, at the bandwidth of the data: the lower end
    takes off what chance adds and is 0 unless calibration is rejected, at 2.5 %; the upper one is that of the mean over
    images of residual times smoothed sign. The fixed point moves less than an error at a constant bandwidth does.

    correct, confidence: (n_images, n_conditions), of the predicted class, in [0, 1]. Raises `Undefined` for fewer than
    two images.
    """
    confidence = np.asarray(confidence, dtype=np.float64).clip(0.0, 1.0)
    residuals = np.asarray(correct, dtype=np.float64) - confidence
    if len(residuals) < 2:
        raise Undefined("smooth_ece: one image has no sampling variation; an interval needs at least two.")
    value, chance, per_image = 0.0, 0.0, np.zeros(len(residuals))
    for column, level in zip(residuals.T, confidence.T, strict=True):
        sigma = bandwidth(column, level)
        value += sigma / residuals.shape[1]
        chance += _by_chance(column, level, sigma) / residuals.shape[1]
        signs = smoothed(np.sign(smoothed(_binned(column, level, CELLS), sigma)), sigma)
        per_image += column * np.interp(level, _centres(CELLS), signs) / residuals.shape[1]
    value = round(value, intervals.DIGITS)
    high = intervals.of_mean(per_image.clip(-1.0, 1.0), -1.0)[1]
    interval = round(max(0.0, value - chance), intervals.DIGITS), max(value, high)
    return Metric("smooth_ece", condition, value, interval, len(residuals), "fraction", False)


def bandwidth(residuals: Floats, confidence: Floats) -> float:
    """The fixed point: bandwidth and smooth calibration error in one, 0 for residuals that are all 0.

    residuals, confidence: (n,). The error falls as the bandwidth grows, so that there is one fixed point.
    """
    cells = _binned(residuals, confidence, CELLS)

    def excess(sigma: float) -> float:
        return float(np.abs(smoothed(cells, sigma)).mean()) - sigma

    return float(optimize.brentq(excess, 0.0, 2.0, xtol=intervals.TINY)) if excess(0.0) > 0 else 0.0


def smoothed(cells: Floats, sigma: float) -> Floats:
    """Values in cells of [0, 1], (..., K), convolved with the reflected Gaussian kernel of width `sigma`."""
    decay = np.exp(-((np.pi * sigma * np.arange(cells.shape[-1])) ** 2) / 2)
    values: Floats = fft.idct(fft.dct(cells, axis=-1) * decay, axis=-1)
    return values


def _binned(values: Floats, confidence: Floats, cells: int) -> Floats:
    """Density of values / n over [0, 1], each shared out linearly between the two nearest cells."""
    place = (confidence * cells - 0.5).clip(0.0, cells - 1.0)
    left = np.minimum(np.floor(place).astype(np.int64), cells - 2)
    share = place - left
    sums = np.bincount(left, values * (1 - share), cells) + np.bincount(left + 1, values * share, cells)
    return np.asarray(sums * cells / len(values))


def _by_chance(residuals: Floats, confidence: Floats, sigma: float) -> float:
    """The excess of a condition's smooth error over the true one, reached in 2.5 % of all samples.

    Residuals err independently with the variance of the answers seen or, if larger, that of answers that are right as
    often as the confidence says; see `harness.metrics.calibration`.
    """
    seen, expected = (_binned(square, confidence, COARSE) for square in (residuals**2, confidence * (1 - confidence)))
    # In a cell: a sum of n times its share of residuals, each divided by n, as a density.
    error = np.sqrt(np.maximum(seen, expected) * COARSE / len(residuals))
    noise = smoothed(error * _draws(), sigma)
    centre = smoothed(_binned(residuals, confidence, COARSE), sigma)
    centre = np.where(np.abs(centre) > CERTAIN * noise.std(axis=0), centre, 0.0)
    sums = np.abs(centre + noise).mean(axis=1) - np.abs(centre).mean()
    return float(np.quantile(sums, 1 - TAIL))


def _centres(cells: int) -> Floats:
    return (np.arange(cells) + 0.5) / cells


@cache
def _draws() -> Floats:
    return generator(0, "smooth_calibration", "").standard_normal((REPLICATES, COARSE))
