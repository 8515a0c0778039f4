"""Means over images of quantities that lie near their mean, with Student's t interval.

The usual interval, `of_mean`, holds for every distribution on a bounded range, rare extremes included. For a cosine,
whose range [-1, 1] is ten times as wide as its spread over images, it says next to nothing at 60 images. Student's
assumes that the mean of n images is close to normal; it agrees with the bootstrap over images.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from harness.metrics.intervals import Interval, student
from harness.types import Metric


def mean_over_images(
    values: Any, name: str, condition: str, unit: str, limits: Interval = (-np.inf, np.inf), higher: bool = True
) -> Metric:
    """Mean of one number per source image, with the t interval, cut at `limits`.

    values: (n,) finite. Raises `Undefined` for fewer than two images, and for equal values, whose spread is unknown.
    """
    values = np.asarray(values, dtype=np.float64)
    low, high = np.clip(student(values, name), *limits)
    return Metric(name, condition, float(values.mean()), (float(low), float(high)), len(values), unit, higher)
