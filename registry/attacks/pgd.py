"""Projected gradient descent, the white-box attack of adversarial training (Madry et al., ICLR 2018, section 2.1)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from harness.attacks import norms, projections, steps
from harness.attacks.ascent import ascend
from harness.attacks.losses import loss_named
from harness.attacks.projections import Projection
from harness.attacks.steps import StepRule
from harness.plugins import attack
from harness.types import GradientClassifier, HarnessError, Noise


def _start_linf(noise: Tensor) -> Tensor:
    """Uniform on [-1, 1] in every pixel: the normal distribution function of the noise."""
    return 2 * torch.special.ndtr(noise) - 1


def _start_l2(noise: Tensor) -> Tensor:
    """A uniform direction of norm 1, as the robustness library of Madry's group starts."""
    return noise / norms.l2_norm(noise)


NORMS: dict[str, tuple[StepRule, Projection, Callable[[Tensor], Tensor]]] = {
    "linf": (steps.linf, projections.linf, _start_linf),
    "l2": (steps.l2, projections.l2, _start_l2),
}
"""By norm: the step, the projection, and the start in the unit ball from normal noise (B, 3, H, W)."""


@attack("pgd")
@dataclass(frozen=True)
class PGD:
    """PGD in an linf ball: x <- P(x + step sign(grad)); defaults of the authors' evaluation on CIFAR-10 (table 2).

    eps: radius of the ball. step: length of a step. steps: their number. loss: ce, margin or dlr.
    random_start: sets out from a random point of the ball instead of from the image.
    draws: fresh noise draws of a stochastic defence whose gradients each step averages (expectation over
        transformation, Athalye et al., ICML 2018); 0 takes the evaluation's own noise.
    """

    norm: ClassVar[str] = "linf"

    eps: float = 8 / 255
    step: float = 2 / 255
    steps: int = 20
    loss: str = "ce"
    random_start: bool = True
    draws: int = 0

    def __post_init__(self) -> None:
        loss_named(self.loss)
        if min(self.eps, self.step) < 0 or min(self.steps, self.draws) < 0:
            raise HarnessError(
                f"pgd: eps={self.eps:g}, step={self.step:g}, steps={self.steps} and draws={self.draws} must not be "
                "negative."
            )

    def __call__(self, images: Tensor, labels: Tensor, classifier: GradientClassifier, noise: Noise) -> Tensor:
        loss, (step, project, spread) = loss_named(self.loss), NORMS[self.norm]

        def gradient(x: Tensor, number: int) -> Tensor:
            if not self.draws:
                return classifier.gradient(x, loss, labels)[1]
            total = torch.zeros_like(x)
            for draw in range(self.draws):
                # Draw 0 is the evaluation's: an attacker who averages never sees it.
                fresh = classifier.drawn(1 + number * self.draws + draw)
                total += fresh.gradient(x, loss, labels)[1]
            return total / self.draws

        start = self.eps * spread(noise("pgd/start")) if self.random_start else torch.zeros_like(images)
        return ascend(
            gradient,
            images,
            projections.box(images, start),
            step=step,
            size=self.step,
            project=project,
            radius=self.eps,
            steps=self.steps,
        )


@attack("pgd-l2")
@dataclass(frozen=True)
class PGDL2(PGD):
    """PGD in an l2 ball: x <- P(x + step grad / |grad|); defaults of the robustness library (Engstrom et al., 2019).

    The library evaluates CIFAR-10 with eps = 0.5 and steps of length 2.5 eps / steps.
    """

    norm: ClassVar[str] = "l2"

    eps: float = 0.5
    step: float = 2.5 * 0.5 / 20
