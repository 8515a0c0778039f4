"""Network calls of guided sampling, counted on stand-ins that only count."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from harness.diffusion.denoiser import Denoiser
from harness.diffusion.guided import SamplingStep
from harness.diffusion.schedule import linear
from harness.types import Guide

SIDE = 8
"""Side in pixels of the images that the stand-ins of one step see: counts do not depend on it."""


@dataclass(frozen=True)
class GuidedCalls:
    """Network calls per sample; gradients are backward passes, which cost about two forward ones."""

    denoiser: int = 0
    denoiser_gradients: int = 0
    classifier: int = 0
    classifier_gradients: int = 0

    def times(self, samples: int) -> dict[str, int]:
        """Calls for so many samples, by name."""
        return {name.replace("_", " "): samples * number for name, number in vars(self).items()}


class StandIn(nn.Module):
    """Counts rows that pass forward and backward; the result depends on the input, and is zero.

    config, class_embedding: of the denoiser that it stands for, as `Denoiser` asks for them.
    """

    def __init__(self, outputs: Callable[[Tensor], Tensor], config: Any = None, conditional: bool = False) -> None:
        super().__init__()
        self.forward_rows = self.backward_rows = 0
        self.config = config or {}
        self.class_embedding = nn.Identity() if conditional else None
        self._outputs = outputs

    def forward(self, images: Tensor, *others: Any, **more: Any) -> tuple[Tensor]:
        """Called as diffusers' networks are."""
        return (self.counted(images),)

    def counted(self, images: Tensor) -> Tensor:
        """The result for images (B, 3, H, W)."""
        self.forward_rows += len(images)
        result = self._outputs(images * 0)
        if result.requires_grad:
            result.register_hook(self._count_backward)
        return result

    def _count_backward(self, gradient: Tensor) -> None:
        self.backward_rows += len(gradient)


class ClassifierStandIn:
    """A stand-in with what guides ask of a classifier. denoised: see `harness.types.NoisyClassifier`."""

    def __init__(self, classes: int, denoised: bool) -> None:
        self.denoised = denoised
        self.counter = StandIn(lambda images: images.flatten(1).sum(1, keepdim=True).expand(-1, classes))

    def __call__(self, images: Tensor) -> Tensor:
        return self.counter.counted(images)

    def noisy(self, x_t: Tensor, x0_hat: Tensor | None, t: Tensor) -> Tensor:
        """See `harness.types.NoisyClassifier`."""
        return self.counter.counted(x_t if x0_hat is None else x_t + x0_hat)


def counted(denoiser: StandIn, classifier: ClassifierStandIn | None) -> GuidedCalls:
    """The calls that two stand-ins have counted."""
    rows = (0, 0) if classifier is None else (classifier.counter.forward_rows, classifier.counter.backward_rows)
    return GuidedCalls(denoiser.forward_rows, denoiser.backward_rows, *rows)


def calls_of_step(guide: Guide, denoised: bool, classes: int) -> GuidedCalls:
    """Network calls of one sample in a step in which the guide acts.

    denoised: its classifier looks at the denoised image, too. classes: K.
    """
    denoising, classifier = StandIn(lambda images: images, conditional=True), ClassifierStandIn(classes, denoised)
    denoiser = Denoiser(denoising, linear(), null_label=classes)
    time = min(guide.interval[0], len(denoiser.schedule.betas) - 1)
    x, labels = torch.zeros(1, 3, SIDE, SIDE), torch.zeros(1, dtype=torch.int64)
    guide(SamplingStep(denoiser, denoiser.schedule, time, time, x, labels), classifier)
    return counted(denoising, classifier)
