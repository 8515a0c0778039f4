"""The embedded benchmark: handwritten digits, clean and under the common corruptions. No download."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import ClassVar

from harness.data import open_dataset
from harness.plugins import suite
from harness.suites.corrupted import CommonCorruptions
from harness.suites.shift import CovariateShift
from harness.types import Condition, Dataset


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
class DigitsC(CommonCorruptions):
    """The 15 common corruptions of the test digits, with the published constants of the 32-pixel version.

    mCE is relative to the plain ResNet, and left out with photographed frost: the rates were taken with drawn ice.
    """

    name: ClassVar[str] = "digits-c"
    version: ClassVar[int] = 1
    dataset: ClassVar[str] = "digits"
    denoiser: ClassVar[str | None] = "digits"
    columns: ClassVar[Sequence[tuple[str, str]]] = (("mean_accuracy", "mean"), ("mean_error", "mean"), ("mce", "mean"))

    def clean(self) -> Dataset:
        """The test split."""
        return open_dataset(self.dataset, "test")

    def reference(self) -> Mapping[str, float] | None:
        """The plain ResNet's error rates on the whole test set, written by ``benchmarks/reference.py``."""
        if self.frost:
            return None
        file = resources.files("harness.suites") / "digits-c.reference.json"
        rates: Mapping[str, float] = json.loads(file.read_text())["error"]
        return rates
