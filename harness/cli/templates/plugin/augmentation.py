"""An augmentation: the images of a training step to altered images."""

from dataclasses import dataclass

import torch

from harness.base import noise
from harness.plugins import augmentation
from harness.train.step import Step


@augmentation("my-name")
@dataclass(frozen=True)
class MyName:
    """A random brightness for every image."""

    # Settings are fields: --augment my-name:most=0.4.
    most: float = 0.2

    def __call__(self, step: Step) -> Step:
        # step.augmented has ids, images (B, 3, H, W) in [0, 1] and labels. Random numbers are keyed by seed, sample and
        # epoch, so that order, resume and the number of processes change nothing.
        batch = step.augmented
        rngs = noise.generators(step.seed, "my-name", batch.ids, step.epoch)
        factors = torch.tensor([1 + rng.uniform(-self.most, self.most) for rng in rngs], dtype=torch.float32)
        return step.with_images((batch.images * factors.to(batch.images)[:, None, None, None]).clamp(0, 1))
