"""Means over images of quantities that lie near their mean, with Student's t interval; paired differences.

`harness.metrics.intervals` holds for every distribution on a bounded range, rare extremes included. For a cosine, whose
range [-1, 1] is ten times as wide as its spread over images, that interval says next to nothing at 60 images. Student's
assumes that the mean of n images is close to normal; it agrees with the bootstrap over images.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

from harness.metrics.intervals import DIGITS, TAIL, TINY, Floats, Interval, Undefined
from harness.types import Metric


@dataclass(frozen=True)
class MeanDifference:
    """A paired difference of means, B minus A: its value, 95 % interval, number of images, and two-sided p-value."""

    value: float
    interval: Interval
    n: int
    p: float


def mean_over_images(
    values: Any, name: str, condition: str, unit: str, limits: Interval = (-np.inf, np.inf), higher: bool = True
) -> Metric:
    """Mean of one number per source image, with the t interval, cut at `limits`.

    values: (n,) finite. Raises `Undefined` for fewer than two images, and for equal values, whose spread is unknown.
    """
    values = np.asarray(values, dtype=np.float64)
    low, high = np.clip(_t_interval(values, name), *limits)
    return Metric(name, condition, float(values.mean()), (float(low), float(high)), len(values), unit, higher)


def mean_difference(a: Any, b: Any) -> MeanDifference:
    """The mean of b - a over the same images, by the paired t test. a, b: (n,). Raises `Undefined` as above."""
    difference = np.asarray(b, dtype=np.float64) - np.asarray(a, dtype=np.float64)
    interval = _t_interval(difference, "difference")
    t = difference.mean() / stats.sem(difference)
    p = float(2 * stats.t.sf(abs(t), len(difference) - 1))
    return MeanDifference(float(difference.mean()), interval, len(difference), p)


def _t_interval(values: Floats, name: str) -> Interval:
    if len(values) < 2:
        raise Undefined(f"{name}: one image has no sampling variation; an interval needs at least two.")
    if np.ptp(values) < TINY:
        raise Undefined(f"{name}: all images have the same value, {values[0]:g}; an interval needs some spread.")
    half = stats.t.ppf(1 - TAIL, len(values) - 1) * stats.sem(values)
    return round(float(values.mean() - half), DIGITS), round(float(values.mean() + half), DIGITS)
