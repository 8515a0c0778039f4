"""Class alignment and uniformity of features on the unit sphere (Wang & Isola, ICML 2020)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.metrics.intervals import Undefined

Floats = NDArray[np.floating[Any]]
Ints = NDArray[np.integer[Any]]

ROWS = 1_024
"""Rows of the matrix of distances that are in memory at once."""


def unit(features: Floats) -> Floats:
    """Features (n, D) divided by their norms, float64; raises `Undefined` for features that are 0."""
    values = np.asarray(features, dtype=np.float64)
    norms = np.linalg.norm(values, axis=1, keepdims=True)
    if not (norms > 0).all():
        raise Undefined(f"Features of {int((norms == 0).sum())} images are 0 and have no direction.")
    return np.asarray(values / norms)


def alignment(features: Floats, labels: Ints) -> float:
    """Mean squared distance of the unit features of two images of one class: 0 to 4, the lower the tighter.

    The paper's positive pairs are two augmentations of one image (section 4.1, exponent 2); here they are all pairs of
    different images of a class, every pair with equal weight. features: (n, D). labels: (n,).
    Raises `Undefined` where no class has two images.
    """
    points = unit(features)
    total, pairs = 0.0, 0.0
    for label in np.unique(labels):
        members = points[labels == label]
        n = len(members)
        # Sum over pairs of |u - v|^2 = n sum |u|^2 - |sum u|^2.
        total += n * float((members**2).sum()) - float((members.sum(0) ** 2).sum())
        pairs += n * (n - 1) / 2
    if not pairs:
        raise Undefined("alignment: no class has two images.")
    return total / pairs


def uniformity(features: Floats, t: float = 2.0) -> float:
    """Log of the mean of exp(-t |u - v|^2) over pairs of different images' unit features: -4 t to 0 (section 4.1).

    The lower, the more evenly the features cover the sphere. features: (n, D), n >= 2; raises `Undefined` for fewer.
    """
    points = unit(features)
    n = len(points)
    if n < 2:
        raise Undefined(f"uniformity: needs two images, and here is {n}.")
    total = 0.0
    for start in range(0, n, ROWS):
        rows = points[start : start + ROWS]
        squares = np.maximum(2 - 2 * (rows @ points.T), 0)
        total += float(np.exp(-t * squares).sum())
    return float(np.log((total - n) / (n * (n - 1))))
