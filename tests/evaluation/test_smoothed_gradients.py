"""Smoothers as attacks on certificates see them: without the noise of the image, and differentiable."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import nll_loss

from harness import plugins
from harness.base import noise
from harness.diffusion.denoiser import Denoiser
from harness.diffusion.schedule import linear
from harness.evaluation.views.smoothed_gradients import SmootherClassifier
from harness.models.tiles import TiledClassifier, Tiles
from harness.types import HarnessError, Noise

SIGMA, IDS = 0.25, ("a", "b", "c")
IMAGES = torch.rand(3, 3, 8, 8, generator=torch.Generator().manual_seed(0))
LABELS = torch.tensor([0, 1, 2])
EPS = torch.randn(3, 3, 8, 8, generator=torch.Generator().manual_seed(1))
WEIGHTS = torch.randn(192, 4, generator=torch.Generator().manual_seed(2))


class Linear(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1) @ WEIGHTS


class Shrinking(nn.Module):
    """A noise prediction that keeps the denoised image far from where it is clipped."""

    def forward(self, x: Tensor, t: Tensor, return_dict: bool) -> tuple[Tensor]:
        return (1.6 * x,)


DENOISER = Denoiser(Shrinking(), linear())


def under_attack(smoother: Any, ids: tuple[str, ...] = IDS) -> SmootherClassifier:
    tiled = TiledClassifier(Linear(), Tiles(2), Tiles(2))
    return SmootherClassifier(smoother, tiled, DENOISER, SIGMA, 7, ids)


@pytest.mark.parametrize("text", ["gaussian", "denoise"])
def test_an_attacks_noise_stands_in_the_place_of_the_smoothers(text: str) -> None:
    """The first time with at least sigma has a little more noise: with that much, both are the same image."""
    smoother = plugins.smoother.configure(text).plugin
    abar = float(DENOISER.schedule.alpha_bar[DENOISER.schedule.time_of(SIGMA)])
    size = 0.5 * (1 / abar - 1) ** 0.5 if text == "denoise" else SIGMA
    shown = smoother(IMAGES, SIGMA, DENOISER, lambda purpose: EPS, 0)
    assert under_attack(smoother)(IMAGES + size * EPS) == pytest.approx(Linear()(shown), abs=1e-3)


def test_the_gradient_is_that_of_the_mean_probability_over_reverse_samples() -> None:
    smoother = plugins.smoother.configure("denoise-vote:votes=2,steps=2").plugin
    classifier = under_attack(smoother)

    def drawn(purpose: str) -> Tensor:
        if purpose == "image":
            return torch.zeros_like(IMAGES)
        return noise.gaussian((3, 8, 8), seed=7, purpose=f"attack/smooth/0.25/{purpose}", samples=IDS)

    x = IMAGES.clone().requires_grad_()
    votes = [Linear()(smoother(x, SIGMA, DENOISER, drawn, vote)).softmax(-1) for vote in range(2)]
    assert (votes[0] - votes[1]).abs().max() > 1e-3, "votes have noise of their own"
    loss = nll_loss(torch.stack(votes).mean(0).log(), LABELS, reduction="none")
    (expected,) = torch.autograd.grad(loss.sum(), x)

    def by_label(logits: Tensor, labels: Tensor) -> Tensor:
        return nll_loss(logits.log_softmax(-1), labels, reduction="none")

    values, gradients = classifier.gradient(IMAGES, by_label, LABELS)
    assert values == pytest.approx(loss.detach(), rel=1e-4)
    assert gradients == pytest.approx(expected, abs=1e-4 * float(expected.abs().max()))
    last, _ = classifier.of([2]).gradient(IMAGES[2:], by_label, LABELS[2:])
    assert last.equal(values[2:]), "noise belongs to a sample, not to a place"


@dataclass(frozen=True)
class Elsewhere:
    """A smoother whose noise has a purpose of its own."""

    votes: ClassVar[int] = 1
    calls: ClassVar[int] = 0

    def __call__(self, images: Tensor, sigma: float, denoiser: Any, noise: Noise, vote: int) -> Tensor:
        return images + sigma * noise("mine")


def test_a_smoother_that_keeps_the_noise_of_the_image_to_itself_is_refused() -> None:
    with pytest.raises(HarnessError, match="Elsewhere asks for noise of the purposes mine"):
        under_attack(Elsewhere())(IMAGES)
