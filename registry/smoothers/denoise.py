"""Diffusion denoised smoothing: one step (Carlini et al., ICLR 2023), or sampling and voting (Xiao et al., 2023)."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from harness.diffusion.denoiser import Denoiser
from harness.diffusion.sampling import reverse
from harness.plugins import smoother
from harness.types import HarnessError, Noise


def diffused(images: Tensor, sigma: float, denoiser: Denoiser, noise: Noise) -> tuple[Tensor, int]:
    """x_t and t, the first time at which the noise, in [0, 1] pixel units, is at least sigma."""
    time = denoiser.schedule.time_of(sigma)
    return denoiser.diffuse(images, torch.full((len(images),), time, device=images.device), noise("image")), time


@smoother("denoise", denoiser=True)
@dataclass(frozen=True)
class Denoise:
    """The classifier on the one-step denoising of the noisy image."""

    votes: ClassVar[int] = 1
    calls: ClassVar[int] = 1

    def __call__(self, images: Tensor, sigma: float, denoiser: Denoiser, noise: Noise, vote: int) -> Tensor:
        x_t, time = diffused(images, sigma, denoiser, noise)
        return denoiser.predict_x0(x_t, torch.full((len(images),), time, device=images.device))


@smoother("denoise-vote", denoiser=True)
@dataclass(frozen=True)
class DenoiseVote:
    """DensePure: the most frequent class over `votes` samples of the reverse process, `steps` ancestral steps each."""

    votes: int = 5
    steps: int = 5

    def __post_init__(self) -> None:
        if self.votes < 1 or self.steps < 1:
            raise HarnessError(f"denoise-vote: votes={self.votes} and steps={self.steps} must be at least 1.")

    @property
    def calls(self) -> int:
        return self.steps

    def __call__(self, images: Tensor, sigma: float, denoiser: Denoiser, noise: Noise, vote: int) -> Tensor:
        x_t, time = diffused(images, sigma, denoiser, noise)
        return reverse(denoiser, x_t, time, self.steps, lambda step: noise(f"reverse/{vote}/{step}"))
