"""BPDA, the backward pass differentiable approximation (Athalye, Carlini & Wagner, ICML 2018, section 4.1)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from harness.attacks.losses import loss_named
from harness.plugins import attack
from harness.registry.attacks.pgd import PGD
from harness.types import GradientClassifier, HarnessError, Noise, ThreatModel


@attack("bpda")
@dataclass(frozen=True)
class BPDA:
    """PGD that takes denoised and adapted images for the image itself when it goes back: their derivative is ignored.

    It looks beside the exact gradient: where it succeeds more often, that gradient leads astray.

    step: length of a step, as a share of eps. steps: their number. draws: fresh noise draws of each. loss: ce, margin
        or dlr.
    """

    step: float = 0.125
    steps: int = 50
    draws: int = 1
    loss: str = "ce"

    # Its backward passes leave out the diffusion model.
    straight_through: ClassVar[bool] = True

    def __post_init__(self) -> None:
        loss_named(self.loss)
        if self.step < 0 or self.steps < 0 or self.draws < 1:
            raise HarnessError(
                f"bpda: step={self.step:g} and steps={self.steps} must not be negative, draws={self.draws} at least 1."
            )

    def calls(self, threat: ThreatModel) -> tuple[int, int]:
        """Forward and backward passes per image; the backward passes leave out the diffusion model."""
        return self.steps * self.draws, self.steps * self.draws

    def __call__(
        self, images: Tensor, labels: Tensor, classifier: GradientClassifier, noise: Noise, threat: ThreatModel
    ) -> Tensor:
        ascent = PGD(step=self.step, steps=self.steps, loss=self.loss, random_start=False, draws=self.draws)
        return ascent(images, labels, classifier.straight_through(), noise, threat)
