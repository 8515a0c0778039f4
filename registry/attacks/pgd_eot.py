"""PGD on the mean gradient over fresh draws of a stochastic defence (Lee & Kim, ICCV 2023)."""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import Tensor

from harness.attacks.losses import loss_named
from harness.plugins import attack
from harness.registry.attacks.pgd import PGD
from harness.types import Adaptation, GradientClassifier, HarnessError, Method, Noise, ThreatModel

PUBLISHED = PGD(step=0.007 * 255 / 8, steps=200, random_start=False, draws=20)
"""Settings of the authors' code at eps = 8/255: 200 steps of .007, 20 draws each, from the image itself."""


@attack("pgd-eot")
@dataclass(frozen=True)
class PGDEOT:
    """PGD through the whole defence; each step averages the gradients of log-probabilities over fresh draws.

    Lee & Kim find it stronger against purification than AutoAttack's rand version and than BPDA. The authors step
    along the sign in l2, too; here l2 steps are normalised gradients.

    step: length of a step, as a share of eps. steps: their number. draws: fresh noise draws of each. loss: ce, margin
        or dlr.
    surrogate: steps of a shorter adaptation whose gradients stand for those of dda; 0 takes the defence's own.
    preset: published takes the authors' 200 steps of .007 at eps = 8/255 over 20 draws.
    """

    step: float = 0.125
    steps: int = 50
    draws: int = 1
    loss: str = "ce"
    surrogate: int = 0
    preset: str = ""

    def __post_init__(self) -> None:
        loss_named(self.loss)
        if self.step < 0 or self.steps < 0 or self.draws < 1 or self.surrogate < 0:
            raise HarnessError(
                f"pgd-eot: step={self.step:g}, steps={self.steps} and surrogate={self.surrogate} must not be "
                f"negative, draws={self.draws} at least 1. Attack the evaluation's own noise with pgd."
            )
        if self.preset not in ("", "published"):
            raise HarnessError(f"pgd-eot: preset={self.preset!r} must be published, or be left out.")
        if self.preset and (self.step, self.steps, self.draws) != (PGDEOT.step, PGDEOT.steps, PGDEOT.draws):
            raise HarnessError("pgd-eot: preset=published sets step, steps and draws. Leave these out, or the preset.")

    @property
    def ascent(self) -> PGD:
        """The attack that these settings make of PGD."""
        if self.preset:
            return replace(PUBLISHED, loss=self.loss)
        return PGD(step=self.step, steps=self.steps, loss=self.loss, random_start=False, draws=self.draws)

    def calls(self, threat: ThreatModel) -> tuple[int, int]:
        """Forward and backward passes of the defended classifier per image."""
        passes = self.ascent.steps * self.ascent.draws
        return passes, passes

    def check(self, method: Method) -> None:
        """Raise HarnessError for a surrogate of a method that is no chain of steps."""
        if self.surrogate and not isinstance(method, Adaptation):
            raise HarnessError(f"pgd-eot: surrogate={self.surrogate} needs a method such as dda. Leave it out.")

    def __call__(
        self, images: Tensor, labels: Tensor, classifier: GradientClassifier, noise: Noise, threat: ThreatModel
    ) -> Tensor:
        if self.surrogate:
            if not hasattr(classifier, "surrogate"):
                raise HarnessError(f"pgd-eot: surrogate={self.surrogate} needs a method such as dda. Leave it out.")
            classifier = classifier.surrogate(self.surrogate)
        return self.ascent(images, labels, classifier, noise, threat)
