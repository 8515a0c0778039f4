"""Stages that follow the augmentation itself, keyed by (seed, sample, epoch): a resumed run sees the same images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from harness import noise
from harness.train.augmix import AugMix
from harness.train.step import Step

GROUP = 16
"""Images of a batch that share one draw of a distorting network's perturbations."""


@dataclass(frozen=True)
class Mixtures:
    """Two AugMix views of every augmented image, for the consistency term (Hendrycks et al., ICLR 2020)."""

    augmix: AugMix

    def __call__(self, step: Step) -> Step:
        batch = step.augmented

        def view(number: int) -> Tensor:
            return self.augmix(batch.images, seed=step.seed, samples=batch.ids, epoch=step.epoch, view=number)

        return replace(step, views=(view(1), view(2)))


@dataclass(frozen=True, eq=False)
class Distortion:
    """A share of the images passed through a randomly perturbed network (DeepAugment: Hendrycks et al., ICCV 2021).

    The published pipeline trains on the union of the images and of copies distorted off line; here a sample meets its
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


@dataclass(frozen=True)
class Mixing:
    """Mixup or CutMix of the batch, which makes its labels soft; torchvision's, drawn once per pass.

    With both, one of them per pass, as in timm. Partners are neighbours in the batch, so this depends on its order.
    """

    classes: int
    mixup: float
    cutmix: float

    def __call__(self, step: Step) -> Step:
        from torchvision.transforms.v2 import CutMix, MixUp

        given = [(kind, alpha) for kind, alpha in ((MixUp, self.mixup), (CutMix, self.cutmix)) if alpha]
        kind, alpha = given[int(torch.randint(len(given), ()))]
        mix = kind(alpha=alpha, num_classes=self.classes)
        images, targets = mix(step.augmented.images, step.augmented.labels)
        return replace(step.with_images(images), targets=targets)
