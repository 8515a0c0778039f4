"""FAB and Square, as pyautoattack has them, with shared noise: see `harness.attacks.library`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from harness.attacks import library
from harness.plugins import attack
from harness.types import GradientClassifier, HarnessError, Noise, ThreatModel

NOTE = "Random numbers of fab and square are shared by all images (shared noise), so that no batch decides them."
"""What records say of them."""


@dataclass(frozen=True)
class _Fab:
    """steps: of each run. restarts: runs per class; those after the first start at random. seed: of these starts."""

    restarts: int = 1
    steps: int = 100
    seed: int = 0

    minimal: ClassVar[bool] = True
    # Under a test-time method, whose noise is keyed by the sample: see `harness.attacks.library`.
    one_by_one: ClassVar[bool] = True
    note: ClassVar[str] = NOTE

    def __post_init__(self) -> None:
        if min(self.restarts, self.steps) < 1:
            raise HarnessError(f"fab: restarts={self.restarts} and steps={self.steps} must be at least 1.")

    def _run(
        self, images: Tensor, labels: Tensor, classifier: GradientClassifier, threat: ThreatModel, targets: int
    ) -> Tensor:
        settings = {"restarts": self.restarts, "steps": self.steps, "seed": self.seed}
        return library.fab(images, labels, classifier, threat, targets=targets, **settings)


@attack("fab")
@dataclass(frozen=True)
class Fab(_Fab):
    """FAB towards the nearest class, the smallest perturbation; a gradient per class and step (Croce & Hein, 2020)."""

    restarts: int = 5

    def __call__(
        self, images: Tensor, labels: Tensor, classifier: GradientClassifier, noise: Noise, threat: ThreatModel
    ) -> Tensor:
        return self._run(images, labels, classifier, threat, 0)


@attack("fab-t")
@dataclass(frozen=True)
class FabTargeted(_Fab):
    """FAB towards one class after the other, the smallest perturbation of all; no noise with one restart.

    targets: number of classes, those of the highest logits of the clean image, the true one aside.
    """

    targets: int = 9

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.targets < 1:
            raise HarnessError(f"fab-t: targets={self.targets} must be at least 1.")

    def calls(self, threat: ThreatModel) -> tuple[int, int]:
        """Forward and backward passes per image: a gradient and a label in each step."""
        runs = self.restarts * self.targets
        return runs * (2 * self.steps + 2) + 2, runs * self.steps

    def __call__(
        self, images: Tensor, labels: Tensor, classifier: GradientClassifier, noise: Noise, threat: ThreatModel
    ) -> Tensor:
        return self._run(images, labels, classifier, threat, self.targets)


@attack("square")
@dataclass(frozen=True)
class Square:
    """Square, random search by queries, without gradients (Andriushchenko et al., ECCV 2020), set as in AutoAttack.

    queries: per image and restart. seed: of the search, which all images share.
    """

    queries: int = 5000
    restarts: int = 1
    seed: int = 0

    one_by_one: ClassVar[bool] = True
    note: ClassVar[str] = NOTE

    def __post_init__(self) -> None:
        if min(self.queries, self.restarts) < 1:
            raise HarnessError(f"square: queries={self.queries} and restarts={self.restarts} must be at least 1.")

    def calls(self, threat: ThreatModel) -> tuple[int, int]:
        """Forward and backward passes per image at most."""
        return self.restarts * (self.queries + 2) + 1, 0

    def __call__(
        self, images: Tensor, labels: Tensor, classifier: GradientClassifier, noise: Noise, threat: ThreatModel
    ) -> Tensor:
        settings = {"queries": self.queries, "restarts": self.restarts, "seed": self.seed}
        return library.square(images, labels, classifier, threat, **settings)
