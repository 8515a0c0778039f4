"""Augmentation of small pictures whose mirror image means something else, such as digits."""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F

from harness.base import noise
from harness.plugins import augmentation
from harness.train.step import BatchTransform, Step

DEGREES, SCALE, SHEAR, SHIFT = 10.0, 0.1, 0.1, 0.1
"""Largest rotation in degrees; largest scaling, shear and shift as shares of the side."""


@augmentation("none")
def none() -> BatchTransform:
    """The images as they are."""
    return lambda step: step


@augmentation("affine")
def affine() -> BatchTransform:
    """A small random rotation (up to 10 degrees), scaling, shear and shift (up to 10 % each) of every image.

    No test corruption is an affine map, so that training sees none of them.
    """
    return small_affine


def small_affine(step: Step) -> Step:
    """See `affine`; keyed by (seed, sample, epoch)."""
    batch = step.augmented
    rngs = noise.generators(step.seed, "affine", batch.ids, step.epoch)
    draws = torch.from_numpy(np.stack([rng.uniform(-1, 1, 5) for rng in rngs]))
    angle = draws[:, 0] * math.radians(DEGREES)
    zoom, shear = 1 + draws[:, 1] * SCALE, draws[:, 2] * SHEAR
    cos, sin = angle.cos() * zoom, angle.sin() * zoom
    rows = [
        torch.stack([cos, shear - sin, 2 * SHIFT * draws[:, 3]], 1),
        torch.stack([sin, cos, 2 * SHIFT * draws[:, 4]], 1),
    ]
    grid = F.affine_grid(torch.stack(rows, 1).float(), list(batch.images.shape), align_corners=False)
    images = F.grid_sample(batch.images, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    return step.with_images(images)
