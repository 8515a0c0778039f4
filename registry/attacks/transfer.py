"""Transfer: images that fool the classifier without its defence, shown to the defence."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

from torch import Tensor

from harness import plugins
from harness.plugins import attack
from harness.types import Attack, GradientClassifier, HarnessError, Noise, ThreatModel


@attack("transfer")
@dataclass(frozen=True)
class Transfer:
    """Another attack on the classifier without its test-time method: an attacker who does not know of the method.

    source: the attack, perhaps with one setting: transfer:source=pgd:steps=100.
    """

    source: str = "apgd-ce"
    # Not 0: the images are judged on fresh draws, since the attack has not seen the evaluation's.
    draws: ClassVar[int] = 1
    # Passes in `calls` are of the classifier alone.
    undefended: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if getattr(self.inner, "members", ()) or getattr(self.inner, "minimal", False):
            raise HarnessError(
                f"transfer: source={self.source} must be one attack within eps, such as apgd-ce: an ensemble ends "
                "where the undefended classifier falls, and an attack of least norm at its boundary."
            )

    @property
    def inner(self) -> Attack:
        """The attack on the undefended classifier, with all its steps: where that falls is too near for a defence."""
        plugin: Any = plugins.attack.configure(self.source).plugin
        attack: Attack = replace(plugin, until_falls=False) if getattr(plugin, "until_falls", False) else plugin
        return attack

    def calls(self, threat: ThreatModel) -> tuple[int, int]:
        """Forward and backward passes per image, all of the classifier alone: none looks at the defence."""
        calls: tuple[int, int] = getattr(self.inner, "calls", lambda threat: (0, 0))(threat)
        return calls

    def __call__(
        self, images: Tensor, labels: Tensor, classifier: GradientClassifier, noise: Noise, threat: ThreatModel
    ) -> Tensor:
        return self.inner(images, labels, classifier.undefended, noise, threat)
