"""Training augmentations, keyed by (seed, sample, epoch) so that a resumed run sees the same images."""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F

from harness import noise
from harness.types import Batch

DEGREES, SCALE, SHEAR, SHIFT = 10.0, 0.1, 0.1, 0.1


def small_affine(batch: Batch, *, seed: int, epoch: int) -> Batch:
    """A small random rotation (up to 10 degrees), scaling, shear and shift (up to 10 % each) of every image.

    None of the test corruptions is an affine map, so this gives nothing of them away.
    """
    draws = torch.from_numpy(
        np.stack([rng.uniform(-1, 1, 5) for rng in noise.generators(seed, "affine", batch.ids, epoch)])
    )
    angle = draws[:, 0] * math.radians(DEGREES)
    zoom, shear = 1 + draws[:, 1] * SCALE, draws[:, 2] * SHEAR
    cos, sin = angle.cos() * zoom, angle.sin() * zoom
    rows = [
        torch.stack([cos, shear - sin, 2 * SHIFT * draws[:, 3]], 1),
        torch.stack([sin, cos, 2 * SHIFT * draws[:, 4]], 1),
    ]
    grid = F.affine_grid(torch.stack(rows, 1).float(), list(batch.images.shape), align_corners=False)
    images = F.grid_sample(batch.images, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    return Batch(batch.ids, images, batch.labels)
