"""The embedded benchmark: handwritten digits, clean and under the common corruptions. No download."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import ClassVar

from harness import corruptions
from harness.data import Corrupted, open_dataset
from harness.plugins import suite
from harness.suites.shift import CovariateShift
from harness.types import Condition, Dataset, HarnessError


@suite("digits")
@dataclass(frozen=True)
class Digits(CovariateShift):
    """Clean accuracy on the 600 test digits."""

    name: ClassVar[str] = "digits"
    version: ClassVar[int] = 1
    dataset: ClassVar[str] = "digits"
    denoiser: ClassVar[str | None] = "digits"
    columns: ClassVar[Sequence[tuple[str, str]]] = (("accuracy", "clean"),)

    def conditions(self) -> Sequence[Condition]:
        """One: the images as they are."""
        return [Condition("clean", "clean")]

    def open(self, condition: Condition, seed: int) -> Dataset:
        """The test split."""
        return open_dataset(self.dataset, "test")


@suite("digits-c")
@dataclass(frozen=True)
class DigitsC(Digits):
    """The 15 common corruptions of the test digits, with the published constants of the 32-pixel version.

    severity: 1 to 5; the default is the paper's.
    extra: add the 4 held-out corruptions, which never enter a mean.
    frost: folder of the original frost photographs; without it frost is drawn procedurally, another condition.
    """

    name: ClassVar[str] = "digits-c"
    columns: ClassVar[Sequence[tuple[str, str]]] = (("mean_accuracy", "mean"), ("mean_error", "mean"), ("mce", "mean"))
    severity: tuple[int, ...] = (5,)
    extra: bool = False
    frost: str = ""

    def __post_init__(self) -> None:
        if not self.severity or not set(self.severity) <= set(range(1, 6)):
            raise HarnessError(f"{self.name}: severity={','.join(map(str, self.severity))} must be among 1,2,3,4,5.")
        if list(self.severity) != sorted(set(self.severity)):
            raise HarnessError(f"{self.name}: give each severity once, in rising order.")

    def conditions(self) -> Sequence[Condition]:
        """Every corruption at every severity, "gaussian_noise/5"."""
        names = [(n, True) for n in corruptions.STANDARD] + [(n, False) for n in corruptions.EXTRA if self.extra]
        return [Condition(f"{n}/{s}", n, scored, s, clean="digits") for n, scored in names for s in self.severity]

    def open(self, condition: Condition, seed: int) -> Dataset:
        """The test split under the condition's corruption."""
        return Corrupted(super().open(condition, seed), condition.group, condition.severity, seed, self._frost)

    def facts(self) -> Mapping[str, str]:
        """Which frost textures were used."""
        return {"frost": corruptions.frost_source(self._frost)}

    def reference(self) -> Mapping[str, float]:
        """The plain ResNet's error rates on the whole test set, written by ``benchmarks/reference.py``."""
        file = resources.files("harness.suites") / "digits-c.reference.json"
        rates: Mapping[str, float] = json.loads(file.read_text())["error"]
        return rates

    @property
    def _frost(self) -> Path | None:
        return Path(self.frost) if self.frost else None
