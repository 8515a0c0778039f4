"""Directions of gradients, one per image: alignment with a target, share of low frequencies, norm. Float64."""

from __future__ import annotations

from typing import Any

import numpy as np

from harness.metrics.intervals import Floats

CUTOFF = 1 / 8
"""Largest radius in the Fourier plane that counts as low, in cycles per pixel: a quarter of the Nyquist frequency.

White noise has the share of the plane that the disk covers, 0.048 at 32 x 32 pixels.
"""


def cosine(gradients: Any, targets: Any) -> Floats:
    """Cosine of the angle between each gradient and its target, (N,) in [-1, 1].

    gradients, targets: (N, ...), of one shape. Zero vectors have no direction: a gradient of exactly zero points
    nowhere, and counts as 0.
    """
    a, b = _unit(gradients), _unit(targets)
    return (a * b).sum(1).clip(-1.0, 1.0)


def norms(gradients: Any) -> Floats:
    """Euclidean norms (N,) of gradients (N, ...)."""
    rows = np.asarray(gradients, dtype=np.float64).reshape(len(gradients), -1)
    return np.sqrt((rows**2).sum(1))


def low_frequency_share(gradients: Any, cutoff: float = CUTOFF) -> Floats:
    """Share (N,) of each gradient's energy at spatial frequencies of radius up to `cutoff`, the mean included.

    The energy is that of the two-dimensional Fourier transform, summed over the channels: in [0, 1]. Zero gradients
    have no energy, and a share of 0.

    gradients: (N, C, H, W). cutoff: in cycles per pixel, at most sqrt(1/2).
    """
    rows = np.asarray(gradients, dtype=np.float64)
    peak = np.abs(rows).max(axis=(1, 2, 3), keepdims=True)
    rows = rows / np.where(peak > 0, peak, 1.0)
    energy = (np.abs(np.fft.fft2(rows)) ** 2).sum(axis=1)
    height, width = rows.shape[-2:]
    radius = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width)[None])
    # Row by row over contiguous memory: one image's sum must not depend on how many there are.
    low = np.ascontiguousarray(energy[:, radius <= cutoff + 1e-12]).sum(axis=1)
    total = energy.reshape(len(energy), -1).sum(axis=1)
    return low / np.where(total > 0, total, 1.0)


def _unit(vectors: Any) -> Floats:
    """Vectors (N, D) of norm 1, or 0. Scaled by their largest entry first: squares of tiny gradients underflow."""
    rows = np.asarray(vectors, dtype=np.float64).reshape(len(vectors), -1)
    peak = np.abs(rows).max(axis=1, keepdims=True)
    rows = rows / np.where(peak > 0, peak, 1.0)
    norm = np.sqrt((rows**2).sum(axis=1, keepdims=True))
    return rows / np.where(norm > 0, norm, 1.0)
