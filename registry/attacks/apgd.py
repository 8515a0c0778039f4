"""Auto-PGD (Croce & Hein, ICML 2020): the white-box attacks of AutoAttack, with starts keyed by the sample."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from harness.attacks import losses
from harness.attacks.attempts import Ascents, dlr_loss, restarted, towards
from harness.attacks.passes import clean_logits
from harness.plugins import attack
from harness.types import Attack, GradientClassifier, HarnessError, Noise, ThreatModel


@dataclass(frozen=True)
class _APGD:
    """Settings of all three; the defaults are AutoAttack's.

    steps: of each attempt. restarts: attempts from other random starts, at images that still stand.
    draws: fresh noise draws of a stochastic defence that each step averages, losses and gradients; the result is then
        the iterate of the highest mean loss. 0 takes the evaluation's own noise.
    until_falls: an image is left alone once it is misclassified. False takes all steps, as the authors do, and gives
        the last misclassified iterate.
    """

    steps: int = 100
    restarts: int = 1
    draws: int = 0
    until_falls: bool = True

    name: ClassVar[str] = ""

    def __post_init__(self) -> None:
        if min(self.steps, self.restarts) < 1 or self.draws < 0:
            raise HarnessError(
                f"{self.name}: steps={self.steps} and restarts={self.restarts} must be at least 1, draws={self.draws} "
                "not negative."
            )

    @property
    def _attempts(self) -> int:
        return self.restarts

    def calls(self, threat: ThreatModel) -> tuple[int, int]:
        """Forward and backward passes per image at most: two of clean images, and a check after each attempt."""
        gradients = self._attempts * (self.steps + 1) * max(self.draws, 1)
        return gradients + self._attempts + 2, gradients

    @property
    def _ascents(self) -> Ascents:
        return Ascents(self.steps, self.draws, self.until_falls)


@attack("apgd-ce")
@dataclass(frozen=True)
class APGDCrossEntropy(_APGD):
    """APGD on the cross-entropy."""

    name: ClassVar[str] = "apgd-ce"

    def __call__(
        self, images: Tensor, labels: Tensor, classifier: GradientClassifier, noise: Noise, threat: ThreatModel
    ) -> Tensor:
        attempts = restarted(self.name, losses.cross_entropy, self.restarts)
        return self._ascents.run(attempts, images, labels, classifier, noise, threat)


@attack("apgd-dlr")
@dataclass(frozen=True)
class APGDLogitRatio(_APGD):
    """APGD on the difference of logits ratio."""

    name: ClassVar[str] = "apgd-dlr"

    def __call__(
        self, images: Tensor, labels: Tensor, classifier: GradientClassifier, noise: Noise, threat: ThreatModel
    ) -> Tensor:
        classes = clean_logits(classifier, images, self.draws).shape[1]
        attempts = restarted(self.name, dlr_loss(classes), self.restarts)
        return self._ascents.run(attempts, images, labels, classifier, noise, threat)


@attack("apgd-t")
@dataclass(frozen=True)
class APGDTargeted(_APGD):
    """APGD on the targeted difference of logits ratio, towards one class after the other.

    targets: number of classes, those of the highest logits of the clean image, the true one aside.
    """

    targets: int = 9

    name: ClassVar[str] = "apgd-t"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.targets < 1:
            raise HarnessError(f"{self.name}: targets={self.targets} must be at least 1.")

    @property
    def _attempts(self) -> int:
        return self.restarts * self.targets

    def __call__(
        self, images: Tensor, labels: Tensor, classifier: GradientClassifier, noise: Noise, threat: ThreatModel
    ) -> Tensor:
        logits = clean_logits(classifier, images, self.draws)
        attempts = towards(self.name, logits, labels, self.targets, self.restarts)
        return self._ascents.run(attempts, images, labels, classifier, noise, threat)


@attack("apgd")
@dataclass(frozen=True)
class APGD:
    """APGD on the cross-entropy, then targeted: the white-box half of AutoAttack, in about a quarter of its time."""

    @property
    def members(self) -> Sequence[tuple[str, Attack]]:
        """The attacks by name, in AutoAttack's order."""
        return [(member.name, member()) for member in (APGDCrossEntropy, APGDTargeted)]
