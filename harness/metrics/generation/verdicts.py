"""A judge's verdict on generated images: does it see the class that was asked for?"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.metrics.accuracy import accuracy
from harness.metrics.calibration import mean_loss
from harness.metrics.intervals import Bools
from harness.types import Metric


def verdicts(correct: Bools, log_probabilities: NDArray[Any], condition: str) -> list[Metric]:
    """The accuracy, and for two samples or more the mean log-probability.

    correct: (N,), the judge's class is the one asked for. log_probabilities: (N,), of that class, in nats.
    """
    several = [log_probability(log_probabilities, condition)] if len(log_probabilities) > 1 else []
    return [accuracy(correct, condition), *several]


def log_probability(values: NDArray[Any], condition: str) -> Metric:
    """Mean log-probability of the class asked for, with the interval of `nll`. values: (N,), N >= 2."""
    loss = mean_loss(-values.astype(np.float64)[:, None], condition)
    low, high = loss.interval
    words: dict[str, Any] = {"name": "log_probability", "unit": "natural log", "higher_is_better": True}
    return replace(loss, value=-loss.value, interval=(-high, -low), **words)
