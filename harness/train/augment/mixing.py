"""Mixup and CutMix, which mix the images of a batch."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from harness.train.step import Step


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

        mixes = [(kind, alpha) for kind, alpha in ((MixUp, self.mixup), (CutMix, self.cutmix)) if alpha]
        kind, alpha = mixes[int(torch.randint(len(mixes), ()))]
        mix = kind(alpha=alpha, num_classes=self.classes)
        images, targets = mix(step.augmented.images, step.augmented.labels)
        return replace(step.with_images(images), targets=targets)
