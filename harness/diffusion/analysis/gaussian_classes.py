"""Classes as Gaussians of one covariance: their posterior and its gradient have a closed form at every noise level.

A class is N(mu_y, S), and so N(sqrt(abar) mu_y, abar S + (1 - abar) I) once diffused to alpha_bar. S is the pooled
covariance within classes, shrunk as Ledoit & Wolf (Journal of Multivariate Analysis 88, 2004) have it. Everything is
float64 and in the model's space, [-1, 1].

`harness.diffusion.analysis.mixture` serves any covariances, as (D, D) matrices, and gives density and moments too: for
known distributions of few dimensions. Here D is that of images, where one such matrix takes 75 MB at 32 x 32 pixels,
and a posterior often rounds to 1, which `direction` survives.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from harness.diffusion.schedule import Floats
from harness.types import HarnessError

LEAST = 1e-10
"""Eigenvalues below this share of the largest one are rounding: the images do not span their directions."""


@dataclass(frozen=True, eq=False)
class GaussianClasses:
    """K classes in D dimensions. S = axes diag(spread) axes^T + floor I, which needs no (D, D) matrix.

    log_prior: (K,). means: (K, D). axes: (D, R) orthonormal. spread: (R,) and floor: not negative, the floor positive.
    """

    log_prior: Floats
    means: Floats
    axes: Floats
    spread: Floats
    floor: float

    @classmethod
    def fit(cls, images: Any, labels: Any, classes: int) -> GaussianClasses:
        """The classes of images (N, ...) with labels (N,) in [0, classes).

        Raises HarnessError unless every class has an image, and some class has different ones.
        """
        x = np.asarray(images, dtype=np.float64).reshape(len(images), -1)
        y = np.asarray(labels)
        counts = np.bincount(y, minlength=classes)
        if len(counts) > classes or not counts.all():
            missing = int(np.argmin(counts)) if len(counts) <= classes else len(counts) - 1
            raise HarnessError(
                f"Gaussian classes: {counts[missing]} training image(s) of class {missing}, and {classes} classes. "
                "Every class needs images, and every image a class; or name another target."
            )
        means = np.stack([x[y == k].mean(axis=0) for k in range(classes)])
        axes, spread, floor = _shrunk(x - means[y])
        return cls(np.log(counts / counts.sum()), means, axes, spread, floor)

    def log_joint(self, x_t: Floats, abar: float) -> Floats:
        """Logarithm of p(y, x_t) (K,) up to what all classes share. x_t: (D,). abar: alpha_bar, in (0, 1)."""
        along = self.axes.T @ x_t
        flat, correction = self._precision(abar)
        mean_along = self._means_along
        inner = self.means @ x_t / flat + mean_along @ (correction * along)
        own = (self.means**2).sum(axis=1) / flat + mean_along**2 @ correction
        return self.log_prior + np.sqrt(abar) * inner - abar / 2 * own

    def direction(self, x_t: Floats, abar: float, label: int) -> Floats:
        """Gradient of log p(label | x_t) by x_t (D,), divided by 1 - p(label | x_t), which keeps its direction.

        It is the conditional minus the unconditional score, sqrt(abar) P (mu_label - mean of the other classes' mu by
        their posterior), P the precision. Divided so, no digit is lost where the posterior is 1 but for rounding.
        """
        joint = self.log_joint(x_t, abar)
        joint[label] = -np.inf
        others = np.exp(joint - joint.max())
        weights = -others / others.sum()
        weights[label] = 1.0
        flat, correction = self._precision(abar)
        gap = self.axes @ (correction * (weights @ self._means_along))
        return np.sqrt(abar) * (weights @ self.means / flat + gap)

    @cached_property
    def _means_along(self) -> Floats:
        """The means along the axes, (K, R)."""
        return self.means @ self.axes

    def _precision(self, abar: float) -> tuple[float, Floats]:
        """The inverse of abar S + (1 - abar) I: 1 / flat everywhere, and a correction (R,) along the axes."""
        flat = abar * self.floor + 1 - abar
        return flat, 1 / (flat + abar * self.spread) - 1 / flat


def _shrunk(residuals: Floats) -> tuple[Floats, Floats, float]:
    """Axes, spread and floor of the Ledoit-Wolf covariance of residuals (N, D), through their (N, N) products.

    Raises HarnessError for residuals of zero.
    """
    count, size = residuals.shape
    gram = residuals @ residuals.T / count
    squares = np.diag(gram)
    variance = squares.sum() / size
    if not variance:
        raise HarnessError("Gaussian classes: the images of every class are alike; name another target.")
    energy = (gram**2).sum()
    scatter = energy / size - variance**2
    noise = (count * (squares**2).sum() - energy) / (count * size)
    shrinkage = min(noise, scatter) / scatter if scatter > 0 else 1.0
    values, vectors = np.linalg.eigh(gram)
    kept = values > LEAST * values[-1]
    axes = residuals.T @ (vectors[:, kept] / np.sqrt(count * values[kept]))
    return axes, (1 - shrinkage) * values[kept], float(shrinkage * variance)
