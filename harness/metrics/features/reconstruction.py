"""Errors of reconstructed features, in both conventions of the literature."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.metrics.intervals import Undefined

Floats = NDArray[np.floating[Any]]


def normalised_errors(features: Floats, rebuilt: Floats) -> Floats:
    """|x - x'|^2 / |x|^2 (n,) of features x (n, D) and their reconstructions x': 0 is perfect, 1 as bad as zero.

    Their mean is the normalised MSE of Gao et al. 2024 (`openai/sparse_autoencoder`, loss.py): per image, uncentred.
    Raises `Undefined` for features that are 0.
    """
    values = np.asarray(features, dtype=np.float64)
    norms = (values**2).sum(1)
    if not (norms > 0).all():
        raise Undefined(f"normalised MSE: features of {int((norms == 0).sum())} images are 0.")
    return np.asarray(((values - rebuilt) ** 2).sum(1) / norms)


def normalised_mse(features: Floats, rebuilt: Floats) -> float:
    """The mean of `normalised_errors` over the images."""
    return float(normalised_errors(features, rebuilt).mean())


def unexplained_variance(features: Floats, rebuilt: Floats) -> float:
    """Fraction of variance unexplained (FVU): sum |x - x'|^2 / sum |x - mean|^2; 1 is as bad as the mean.

    Raises `Undefined` for constant features.
    """
    values = np.asarray(features, dtype=np.float64)
    spread = float(((values - values.mean(0)) ** 2).sum())
    if not spread > 0:
        raise Undefined("FVU: all images have the same features.")
    return float(((values - rebuilt) ** 2).sum() / spread)
