"""Metrics of whole probability vectors, from logits: Brier score, and temperature scaling."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, special

from harness.metrics.accuracy import mean_value
from harness.metrics.intervals import Floats
from harness.types import Metric

Labels = NDArray[np.integer]

TEMPERATURES = (0.01, 100.0)
"""Limits of a fitted temperature."""


def softmax(logits: Floats, temperature: float = 1.0) -> Floats:
    """Class probabilities of logits (..., K), in double precision. temperature: divides the logits, above 0."""
    return np.asarray(special.softmax(np.asarray(logits, dtype=np.float64) / temperature, axis=-1))


def brier(logits: Floats, labels: Labels, condition: str) -> Metric:
    """Brier score over all classes: mean squared distance of the probabilities from the true class's unit vector.

    Brier (Monthly Weather Review, 1950), equation 2; in [0, 2], a proper score. Over several conditions the unweighted
    mean of each one's.

    logits: (n_images, n_conditions, K). labels: (n_images, n_conditions). Raises `Undefined` for fewer than two images.
    """
    per_image = np.zeros(len(labels))
    for column in range(labels.shape[1]):  # one condition at a time, which is all that memory must hold
        probabilities = softmax(logits[:, column])
        true = np.take_along_axis(probabilities, labels[:, [column]], axis=1)[:, 0]
        per_image += ((probabilities**2).sum(axis=1) - 2 * true + 1) / labels.shape[1]
    return mean_value(per_image.clip(0.0, 2.0).round(12), "brier", condition, "squared distance", 2.0)


@dataclass(frozen=True)
class Temperature:
    """A fitted temperature. limited: the best one lies beyond `TEMPERATURES`, as where every answer is right."""

    value: float
    limited: bool


def fit_temperature(logits: Floats, labels: Labels) -> Temperature:
    """The temperature with the least negative log-likelihood (Guo et al., ICML 2017, section 4.2).

    logits: (n, K). labels: (n,), true classes.
    """
    values = np.asarray(logits, dtype=np.float64)
    values = values - values.max(axis=1, keepdims=True)
    true = np.take_along_axis(values, np.asarray(labels)[:, None], axis=1)[:, 0]

    def loss(log_temperature: float) -> float:
        scale = np.exp(-log_temperature)
        return float((special.logsumexp(values * scale, axis=1) - true * scale).mean())

    low, high = np.log(TEMPERATURES)
    best = optimize.minimize_scalar(loss, bounds=(low, high), method="bounded", options={"xatol": 1e-6}).x
    value = round(float(np.exp(best)), 4)
    return Temperature(value, not 1.01 * TEMPERATURES[0] < value < TEMPERATURES[1] / 1.01)
