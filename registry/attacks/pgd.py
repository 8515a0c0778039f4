"""Projected gradient descent, the white-box attack of adversarial training (Madry et al., ICLR 2018, section 2.1)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from harness.attacks import projections
from harness.attacks.ascent import ascend
from harness.attacks.balls import BALLS
from harness.attacks.losses import loss_named
from harness.attacks.passes import checked_gradient, clean_logits
from harness.plugins import attack
from harness.types import GradientClassifier, HarnessError, Noise, ThreatModel


@attack("pgd")
@dataclass(frozen=True)
class PGD:
    """PGD: x <- P(x + step sign(grad)), for l2 x <- P(x + step grad / |grad|).

    The number and length of steps are those of the authors' evaluation on CIFAR-10 (Madry et al., ICLR 2018, table 2):
    20 of 2/255 at eps = 8/255.

    step: length of a step, as a share of eps. steps: their number. loss: ce, margin or dlr.
    random_start: sets out from a random point of the ball instead of from the image.
    draws: fresh noise draws of a stochastic defence whose gradients each step averages (expectation over
        transformation, Athalye et al., ICML 2018); 0 takes the evaluation's own noise.
    """

    step: float = 0.25
    steps: int = 20
    loss: str = "ce"
    random_start: bool = True
    draws: int = 0

    def __post_init__(self) -> None:
        loss_named(self.loss)
        if self.step < 0 or min(self.steps, self.draws) < 0:
            raise HarnessError(
                f"pgd: step={self.step:g}, steps={self.steps} and draws={self.draws} must not be negative."
            )

    def __call__(
        self, images: Tensor, labels: Tensor, classifier: GradientClassifier, noise: Noise, threat: ThreatModel
    ) -> Tensor:
        loss, ball = loss_named(self.loss), BALLS[threat.norm]
        if not self.draws:
            clean_logits(classifier, images)

        def gradient(x: Tensor, number: int) -> Tensor:
            if not self.draws:
                return checked_gradient(classifier.gradient(x, loss, labels)[1])
            total = torch.zeros_like(x)
            for draw in range(self.draws):
                # Draw 0 is the evaluation's: an attacker who averages never sees it.
                fresh = classifier.drawn(1 + number * self.draws + draw)
                total += checked_gradient(fresh.gradient(x, loss, labels)[1])
            return total / self.draws

        start = threat.eps * ball.start(noise("pgd/start")) if self.random_start else torch.zeros_like(images)
        return ascend(
            gradient,
            images,
            projections.box(images, start),
            step=ball.step,
            size=self.step * threat.eps,
            project=ball.project,
            radius=threat.eps,
            steps=self.steps,
        )
