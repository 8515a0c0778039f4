"""Effective dimension of features from their spectrum."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.metrics.intervals import Undefined

Floats = NDArray[np.floating[Any]]

RANKME_EPSILON = 1e-7
"""Added to each share of the singular values (Garrido et al., ICML 2023, eq. 2)."""


def rankme(features: Floats) -> float:
    """RankMe, exp of the entropy of the singular values' shares: 1 to min(n, D) (Garrido et al., ICML 2023, eq. 2).

    features: (n, D). They are not centred, as in the paper. Raises `Undefined` where all are 0.
    """
    values = np.linalg.svd(np.asarray(features, dtype=np.float64), compute_uv=False)
    if not values.sum() > 0:
        raise Undefined("rankme: all features are 0.")
    shares = values / values.sum() + RANKME_EPSILON
    return float(np.exp(-(shares * np.log(shares)).sum()))


def participation_ratio(features: Floats) -> float:
    """(sum of l)^2 / sum of l^2 over the eigenvalues l of the covariance of features (n, D): 1 to min(n - 1, D).

    (Gao et al., 2017, "A theory of multineuronal dimensionality", eq. 4.) Raises `Undefined` for constant features.
    """
    variances = _variances(features, "participation_ratio")
    return float(variances.sum() ** 2 / (variances**2).sum())


def pca_dimensions(features: Floats, share: float) -> int:
    """Smallest number of principal components that hold a share of the variance of features (n, D).

    share: in (0, 1]. Raises `Undefined` for constant features.
    """
    held = np.cumsum(_variances(features, "pca_dimensions"))
    return int(np.searchsorted(held / held[-1], share - 1e-12) + 1)


def principal_axes(features: Floats) -> tuple[Floats, Floats]:
    """The mean (D,) of features (n, D), and their principal axes (min(n, D), D), the widest first."""
    values = np.asarray(features, dtype=np.float64)
    mean = values.mean(0)
    return mean, np.linalg.svd(values - mean, full_matrices=False)[2]


def _variances(features: Floats, name: str) -> Floats:
    """Variances along the principal axes, falling, up to a factor."""
    values = np.asarray(features, dtype=np.float64)
    variances = np.linalg.svd(values - values.mean(0), compute_uv=False) ** 2
    if not variances.sum() > 0:
        raise Undefined(f"{name}: all images have the same features.")
    return variances
