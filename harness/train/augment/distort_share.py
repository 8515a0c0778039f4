"""DeepAugment while training: a share of the images of every batch, distorted anew."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from harness.base import noise
from harness.train.step import Step

GROUP = 16
"""Images of a batch that share one draw of a distorting network's perturbations."""


@dataclass(frozen=True, eq=False)
class DistortShare:
    """A share of the images passed through a randomly perturbed network (DeepAugment: Hendrycks et al., ICCV 2021).

    The published pipeline trains on the union of the images and of copies distorted beforehand; here a sample meets its
    distorted self with probability `share`, and another one in every epoch. Groups of `GROUP` neighbours share one draw
    of the perturbations.
    """

    distorter: Callable[[Tensor, np.random.Generator], Tensor]
    share: float = 0.5

    def __call__(self, step: Step) -> Step:
        batch = step.augmented
        rngs = noise.generators(step.seed, "deepaugment-share", batch.ids, step.epoch)
        chosen = torch.tensor([rng.uniform() < self.share for rng in rngs])
        images = batch.images.clone()
        groups = (torch.arange(len(batch)) + step.first) // GROUP
        for group in groups.unique().tolist():
            rows = (chosen & (groups == group)).nonzero()[:, 0]
            if len(rows):
                rng = noise.generator(step.seed, "deepaugment", str(group), step.epoch)
                images[rows] = self.distorter(images[rows], rng).to(images.dtype)
        return step.with_images(images)
