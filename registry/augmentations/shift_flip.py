"""Augmentation of small natural images, whose mirror image means the same."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from harness.base import noise
from harness.plugins import augmentation
from harness.train.step import Step


@augmentation("shift-flip")
@dataclass(frozen=True)
class ShiftFlip:
    """A crop of the zero-padded image and a flip in half of the cases (He et al., CVPR 2016, section 4.2).

    pad: black pixels on each side before the crop; 4 in the paper, for 32x32. flip: probability of the mirror image.
    """

    pad: int = 4
    flip: float = 0.5

    def __call__(self, step: Step) -> Step:
        batch = step.augmented
        rngs = noise.generators(step.seed, "shift-flip", batch.ids, step.epoch)
        draws = np.stack([rng.random(3) for rng in rngs])
        height, width = batch.images.shape[-2:]
        tops, lefts = (draws[:, :2] * (2 * self.pad + 1)).astype(int).T
        mirrored = draws[:, 2] < self.flip
        padded = F.pad(batch.images, (self.pad,) * 4)
        crops = [
            image[:, top : top + height, left : left + width]
            for image, top, left in zip(padded, tops, lefts, strict=True)
        ]
        images = torch.stack([crop.flip(-1) if turn else crop for crop, turn in zip(crops, mirrored, strict=True)])
        return step.with_images(images)


@augmentation("flip")
def flip() -> ShiftFlip:
    """The mirror image in half of the cases."""
    return ShiftFlip(pad=0)
