"""Noise: every pixel is disturbed on its own.

Draws are shaped (H, W, 3), channels last, as in the authors' code, so that a recorded stream reproduces their images.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from harness.data.corruptions.common import Rng, drawn, unit
from harness.data.corruptions.constants import Constants


def gaussian_noise(images: Tensor, c: Constants, rngs: Sequence[Rng]) -> Tensor:
    """Adds N(0, c²), c in units of the full range."""
    (scale,) = c
    return (unit(images) + _normal(images, scale, rngs)) * 255


def speckle_noise(images: Tensor, c: Constants, rngs: Sequence[Rng]) -> Tensor:
    """Multiplies by N(1, c²)."""
    (scale,) = c
    x = unit(images)
    return (x + x * _normal(images, scale, rngs)) * 255


def shot_noise(images: Tensor, c: Constants, rngs: Sequence[Rng]) -> Tensor:
    """Counts photons: a Poisson number whose mean is c at full brightness."""
    (photons,) = c
    means = (unit(images) * photons).permute(0, 2, 3, 1).numpy()
    counts = [torch.from_numpy(rng.poisson(mean)) for rng, mean in zip(rngs, means, strict=True)]
    return torch.stack(counts).permute(0, 3, 1, 2) / photons * 255


def impulse_noise(images: Tensor, c: Constants, rngs: Sequence[Rng]) -> Tensor:
    """Salt and pepper: a share c of the values becomes 0 or 255, each channel on its own."""
    (amount,) = c
    size = (*images.shape[2:], 3)
    chance = drawn(rngs, lambda rng: [rng.random(size), rng.random(size)]).permute(1, 0, 4, 2, 3)
    salted = torch.where(chance[1] < 0.5, 255, 0).to(torch.uint8)
    return torch.where(chance[0] < amount, salted, images)


def _normal(images: Tensor, scale: float, rngs: Sequence[Rng]) -> Tensor:
    return drawn(rngs, lambda rng: rng.normal(0.0, scale, (*images.shape[2:], 3))).permute(0, 3, 1, 2)
