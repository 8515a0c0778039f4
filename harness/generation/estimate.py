"""Cost of a generation: network calls, counted on stand-in networks, and seconds, from two steps timed here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from harness.diffusion.denoiser import Denoiser
from harness.diffusion.guided import trajectory
from harness.generation.job import Generation

SMALLEST = 64
"""Side in pixels of the images that stand-ins see at most: counts do not depend on it."""


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


class _StandIn(nn.Module):
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


class _ClassifierStandIn:
    """A stand-in with what guides ask of a classifier."""

    def __init__(self, counter: _StandIn, denoised: bool) -> None:
        self.denoised = denoised
        self._counter = counter

    def __call__(self, images: Tensor) -> Tensor:
        return self._counter.counted(images)

    def noisy(self, x_t: Tensor, x0_hat: Tensor | None, t: Tensor) -> Tensor:
        """See `harness.types.NoisyClassifier`."""
        return self._counter.counted(x_t if x0_hat is None else x_t + x0_hat)


def tally(job: Generation) -> GuidedCalls:
    """Network calls of one sample: its whole trajectory, through stand-ins for the networks."""
    side = min(job.side, SMALLEST)
    x = torch.zeros(1, 3, side, side)
    channels = 6 if _learns_variance(job) else 3
    config = getattr(job.denoiser.network, "config", {})
    denoising = _StandIn(lambda images: images.repeat(1, channels // 3, 1, 1), config, job.denoiser.conditional)
    classifying = _StandIn(lambda images: images.flatten(1).sum(1, keepdim=True).expand(-1, len(job.names)))
    network = job.network and _ClassifierStandIn(classifying, getattr(job.network, "denoised", False))
    denoiser = Denoiser(denoising, job.denoiser.schedule, job.denoiser.null_label)
    for _ in trajectory(denoiser, job.guide, network, x, job.labels[:1], job.spec.sampling, lambda step: x):
        pass
    rows = denoising.forward_rows, denoising.backward_rows, classifying.forward_rows, classifying.backward_rows
    return GuidedCalls(*rows)


def _learns_variance(job: Generation) -> bool:
    """True if the denoiser gives a variance channel, seen on one sample."""
    x, index = torch.zeros(1, *job.shape, device=job.spec.device), torch.zeros(1, dtype=torch.int64)
    labels = job.labels[:1] if job.denoiser.conditional else None
    with torch.no_grad():
        where = [None if each is None else each.to(job.spec.device) for each in (index, labels)]
        return job.denoiser.predict_noise(x, where[0], labels=where[1])[1] is not None  # type: ignore[arg-type]


def seconds(job: Generation, samples: int) -> float:
    """Seconds of so many samples on this machine."""
    return -(-samples // job.tiles.size) * job.sampler.seconds(len(job.names))
