"""Calibration: negative log-likelihood (NLL) and expected calibration error (ECE) with intervals.

Arguments are (n_images, n_conditions), row by row the same source images; one condition is one column. As everywhere,
intervals are over source images: see `harness.metrics.accuracy`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from harness.base.noise import generator
from harness.metrics import intervals
from harness.metrics.accuracy import as_bools, mean_value
from harness.metrics.intervals import TAIL, Bools, Floats, Interval, Undefined
from harness.types import Metric

BINS = 15
"""Bins of equal width (Guo et al., ICML 2017, section 5)."""

REPLICATES = 2_000
"""Draws of the gaps that chance alone makes in the bins."""

CERTAIN = 3.0
"""Standard errors from which on a bin's gap is taken for real, so that chance may shrink it as well as widen it."""

UNSEEN = 10.0
"""Nats: a confident error, of a true class with a probability of 1 / 22,000."""

LEAST = float(np.finfo(np.float32).tiny)
"""Stands in for a probability of zero: float32 has no smaller normal number, and its logarithm is -87.3."""


def nll(probability: Floats, condition: str) -> Metric:
    """Mean negative log-likelihood in nats, -log p of the true class; a proper score, which also rewards accuracy.

    Losses have no limit, so that no interval can allow for every unseen image: this one does for losses of `UNSEEN`, or
    of twice the worst one seen.

    probability: of the true class, in [0, 1]. Raises `Undefined` for fewer than two images.
    """
    return mean_loss(-np.log(np.maximum(np.asarray(probability, dtype=np.float64), LEAST)), condition)


def mean_loss(losses: Floats, condition: str) -> Metric:
    """The same of losses (N, C) in nats, one per image and condition, such as those of log-probabilities themselves."""
    per_image = losses.mean(axis=1)
    largest = max(UNSEEN, 2 * float(per_image.max(initial=0.0)))
    return mean_value(per_image, "nll", condition, "nats", largest)


def ece(correct: Bools, confidence: Floats, condition: str) -> Metric:
    """Expected calibration error: sum over bins of (n_b / n) |accuracy_b - confidence_b| (Guo et al. 2017, equation 3).

    Over several conditions the unweighted mean of each one's. Biased upwards by noise within bins, so that values of
    different n do not compare.

    The interval is for the same sum over all such images. Its lower end takes off what chance adds to the sum of the
    gaps: it is 0 unless calibration is rejected, at 2.5 %. Over several conditions it takes off the mean of what it
    does under each, as if all said the same. The upper end is that of `harness.metrics.intervals` for the mean over
    images of sign * (correct - confidence), with the sign of the bin's gap: a bias upwards does it no harm.

    confidence: of the predicted class, in [0, 1]. Raises `Undefined` for fewer than two images.
    """
    return _binned("ece", correct, confidence, condition, _equal_width)


def adaptive_ece(correct: Bools, confidence: Floats, condition: str) -> Metric:
    """The same with bins of equal numbers of images (Nixon et al., CVPR workshops 2019, section 3), of the top class.

    Where most confidences are high, equal widths put nearly all images into one bin; equal numbers resolve them. Images
    of equal confidence share the bin of their mean rank, so that bins are equal up to ties.

    Arguments, interval and errors: as of `ece`.
    """
    return _binned("adaptive_ece", correct, confidence, condition, _equal_mass)


@dataclass(frozen=True)
class Bin:
    """A bar of a reliability diagram, all fractions in [0, 1].

    low, high: its limits; the upper one is inside. confidence, accuracy: means of its answers.
    interval: of the accuracy, over source images. answers: their number.
    """

    low: float
    high: float
    confidence: float
    accuracy: float
    interval: Interval
    answers: int


def reliability(correct: Bools, confidence: Floats) -> list[Bin]:
    """Bins of a reliability diagram that hold answers, of equal width (Guo et al. 2017, section 2), from low to high.

    correct, confidence: (n_images,) or (n_images, n_conditions); the answers under all conditions share the bins.
    With one condition the intervals are those of Clopper & Pearson, otherwise those of the linearised ratio.
    Raises `Undefined` where there is no image.
    """
    (correct,) = as_bools(np.ndim(correct), correct)
    correct, confidence = correct.reshape(len(correct), -1), np.reshape(confidence, (len(correct), -1))
    bins = _equal_width(np.asarray(confidence, dtype=np.float64))
    bars = []
    for number in np.unique(bins):
        inside = bins == number
        images = inside.any(axis=1)
        answers, right = inside[images].sum(axis=1), (inside & correct)[images].sum(axis=1)
        share, mean = right.sum() / answers.sum(), answers.mean()
        # An image with more answers in the bin moves the ratio further.
        low, high = share * (1 - answers.max() / mean), share + (1 - share) * answers.max() / mean
        ends = intervals.of_mean(share + (right - share * answers) / mean, low, high) if low < high else (share, share)
        interval = max(0.0, float(ends[0])), min(1.0, float(ends[1]))
        level = float(np.asarray(confidence, dtype=np.float64)[inside].mean())
        place = int(number)
        bars.append(Bin(place / BINS, (place + 1) / BINS, level, float(share), interval, int(answers.sum())))
    return bars


def _equal_width(confidence: Floats) -> NDArray[np.int64]:
    """Bins closed on the right, as in the paper; sums of probabilities may exceed 1 by a rounding."""
    return np.clip(np.ceil(confidence * BINS).astype(np.int64) - 1, 0, BINS - 1)


def _equal_mass(confidence: Floats) -> NDArray[np.int64]:
    """Bins by rank within each column, ties by their mean rank."""
    ranks = stats.rankdata(confidence, axis=0) - 0.5
    return np.minimum(np.floor(ranks * BINS / len(confidence)).astype(np.int64), BINS - 1)


def _binned(
    name: str,
    correct: Bools,
    confidence: Floats,
    condition: str,
    bins_of: Callable[[Floats], NDArray[np.int64]],
) -> Metric:
    """Sum over bins of the absolute gaps, with its interval: see `ece`."""
    confidence = np.asarray(confidence, dtype=np.float64)
    gaps = np.asarray(correct, dtype=np.float64) - confidence
    if len(gaps) < 2:
        raise Undefined(f"{name}: one image has no sampling variation; an interval needs at least two.")
    bins = bins_of(confidence)
    per_image = np.zeros(len(gaps))
    for gap, place in zip(gaps.T, bins.T, strict=True):
        per_image += np.sign(np.bincount(place, gap, minlength=BINS))[place] * gap / gaps.shape[1]
    value = float(per_image.mean())
    chance = np.mean([_by_chance(*columns) for columns in zip(gaps.T, confidence.T, bins.T, strict=True)])
    interval: Interval = round(max(0.0, value - float(chance)), intervals.DIGITS), intervals.of_mean(per_image, -1.0)[1]
    return Metric(name, condition, value, interval, len(gaps), "fraction", False)


def _by_chance(gaps: Floats, confidence: Floats, bins: NDArray[np.int64]) -> float:
    """The excess of a condition's sum of absolute gaps over the true sum, reached in 2.5 % of all samples.

    Gaps of bins err independently, normally, with the variance of the answers seen or, if larger, that of answers that
    are right as often as the confidence says. Those that may be 0 are taken to be: there chance only adds.
    """
    n = len(gaps)
    seen, expected = (np.bincount(bins, values, minlength=BINS) for values in (gaps**2, confidence * (1 - confidence)))
    error = np.sqrt(np.maximum(seen, expected)) / n
    gap = np.bincount(bins, gaps, minlength=BINS) / n
    centre = np.where(np.abs(gap) > CERTAIN * error, gap, 0.0)
    sums = np.abs(centre + error * _draws()).sum(axis=1) - np.abs(centre).sum()
    return float(np.quantile(sums, 1 - TAIL))


@cache
def _draws() -> Floats:
    return generator(0, "calibration", "").standard_normal((REPLICATES, BINS))
