"""A corruption: images, a severity and a generator per image to damaged images."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from harness.plugins import corruption

SHARE = (0.05, 0.1, 0.15, 0.2, 0.3)
"""Share of the side that the dark square covers, by severity."""


@corruption("my-name")
def my_name(images: Tensor, severity: int, rngs: Sequence[np.random.Generator]) -> Tensor:
    """A dark square at a random place."""
    # images: (B, 3, H, W) float32 in [0, 1]. Return the same shape in [0, 1]; it is then rounded to 8 bits.
    height, width = images.shape[2:]
    side = max(round(SHARE[severity - 1] * min(height, width)), 1)
    corrupted = []
    for image, rng in zip(images, rngs, strict=True):
        # Everything random about an image comes from its own generator, keyed by seed, severity and sample id.
        top, left = int(rng.integers(height - side + 1)), int(rng.integers(width - side + 1))
        image = image.clone()
        image[:, top : top + side, left : left + side] = 0
        corrupted.append(image)
    return torch.stack(corrupted)
