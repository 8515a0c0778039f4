"""CIFAR-10: clean, under the common corruptions, and certified."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from harness.data import open_dataset, open_mapped
from harness.plugins import suite
from harness.suites.certify import Certification
from harness.suites.corrupted import SEVERITIES, CommonCorruptions, FifteenAndFour, Severities
from harness.suites.published import Published
from harness.suites.shift import CovariateShift
from harness.types import Condition, Dataset, Geometry

TEST = 10_000
SIDE = 32
CLASSES = 10
MEANS = tuple((name, "mean") for name in ("mean_accuracy", "mean_error", "ece", "nll"))


@suite("cifar10")
@dataclass(frozen=True)
class Cifar10(CovariateShift):
    """Clean accuracy on CIFAR-10's test split: --data DIR with test/CLASS/*.png, Parquet files or tars."""

    name: ClassVar[str] = "cifar10"
    version: ClassVar[int] = 1
    dataset: ClassVar[str] = "cifar10"
    denoiser: ClassVar[str | None] = "cifar10"
    columns: ClassVar[Sequence[tuple[str, str]]] = (("accuracy", "clean"), ("ece", "clean"), ("nll", "clean"))
    size: ClassVar[int] = TEST
    data: str = ""

    def conditions(self) -> Sequence[Condition]:
        """One: the images as they are."""
        return [Condition("clean", "clean", size=self.size)]

    def open(self, condition: Condition, seed: int) -> Dataset:
        """The test split."""
        return open_dataset(self.dataset, "test", self.data)


@suite("cifar10-c")
@dataclass(frozen=True)
class Cifar10C(Published, FifteenAndFour):
    """CIFAR-10-C as published (Hendrycks & Dietterich, ICLR 2019): --data DIR with CORRUPTION.npy and labels.npy.

    An array holds the 10,000 test images at severity 1, then at 2, and so on. Nobody published AlexNet's error rates
    here, so that there is no mCE.
    """

    name: ClassVar[str] = "cifar10-c"
    version: ClassVar[int] = 1
    dataset: ClassVar[str] = "cifar10"
    denoiser: ClassVar[str | None] = "cifar10"
    layout: ClassVar[str] = "CORRUPTION.npy (50,000 x 32 x 32 x 3, severities one after the other) and labels.npy"
    tops: ClassVar[Sequence[str]] = ("CIFAR-10-C",)
    clean_size: ClassVar[int] = TEST
    columns: ClassVar[Sequence[tuple[str, str]]] = (*MEANS, ("accuracy", "clean"))
    size: ClassVar[int] = TEST

    def shifted(self) -> Sequence[Condition]:
        """Every corruption at every severity."""
        return Severities.conditions(self)

    def images(self, condition: Condition) -> Dataset:
        """A fifth of a corruption's array."""
        part = range(TEST * (condition.severity - 1), TEST * condition.severity)
        shape = (TEST * len(SEVERITIES), SIDE, SIDE, 3)
        file, labels = self.place(f"{condition.group}.npy"), self.place("labels.npy")
        return open_mapped(file, labels, part, shape, CLASSES, Geometry(SIDE, SIDE, "bilinear"), self.dataset)


@suite("cifar10-c-gen")
@dataclass(frozen=True)
class Cifar10CGenerated(CommonCorruptions):
    """The common corruptions of CIFAR-10's test split, made on the fly: --data DIR as for cifar10. Not CIFAR-10-C."""

    name: ClassVar[str] = "cifar10-c-gen"
    version: ClassVar[int] = 1
    dataset: ClassVar[str] = "cifar10"
    denoiser: ClassVar[str | None] = "cifar10"
    columns: ClassVar[Sequence[tuple[str, str]]] = MEANS
    size: ClassVar[int] = TEST
    data: str = ""

    def clean(self) -> Dataset:
        """The test split."""
        return open_dataset(self.dataset, "test", self.data)


@suite("cifar10-certify")
@dataclass(frozen=True)
class Cifar10Certify(Certification):
    """Certified accuracy on every 20th test image, n = 100,000, as Cohen et al. (ICML 2019): --data DIR as for cifar10.

    Every 20th in the order of the ids, the same in every layout; theirs are every 20th of the published order, which no
    layout tells. Carlini et al. (ICLR 2023) took every image: --every 1.
    """

    name: ClassVar[str] = "cifar10-certify"
    dataset: ClassVar[str] = "cifar10"
    denoiser: ClassVar[str | None] = "cifar10"
    every: ClassVar[int] = 20
    size: ClassVar[int] = TEST
    n: int = 100_000
    data: str = ""

    def clean(self) -> Dataset:
        """The test split."""
        return open_dataset(self.dataset, "test", self.data)
