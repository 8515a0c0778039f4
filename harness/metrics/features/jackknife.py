"""Intervals of statistics of all images together, which no mean over images gives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from harness.metrics.intervals import DIGITS, TAIL, Interval, Undefined

Ints = NDArray[np.integer[Any]]

GROUPS = 20
"""Groups that are left out, one after another."""

METHOD = f"delete-a-group jackknife over images, {GROUPS} groups, Student's t"
"""The method in words, for records."""


def jackknife(statistic: Callable[[Ints], float], n: int, groups: int = GROUPS) -> Interval:
    """95 % interval of a smooth statistic of n images: the delete-a-group jackknife (Shao & Tu 1995, section 2.3).

    The statistic is computed without each of the groups, images i, i + groups, i + 2 groups, ...; (G - 1) / G times
    the sum of squared deviations of these values estimates its variance, and Student's t with G - 1 degrees of freedom
    gives the interval. A bootstrap would not do: images drawn twice lower the rank of the features and have distance 0.

    statistic: from the indices (m,) of the images that it may use. Raises `Undefined` for fewer images than groups.
    """
    if n < groups:
        raise Undefined(f"An interval needs at least {groups} images, and here are {n}.")
    places = np.arange(n)
    value = statistic(places)
    without = np.array([statistic(places[places % groups != group]) for group in range(groups)])
    error = np.sqrt((groups - 1) / groups * ((without - without.mean()) ** 2).sum())
    half = float(stats.t.isf(TAIL, groups - 1) * error)
    return round(value - half, DIGITS), round(value + half, DIGITS)
