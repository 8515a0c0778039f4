"""OpenOOD v1.5's benchmarks: embedded on the digits, and on ImageNet and CIFAR-10 from OpenOOD's image lists."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from harness.data import Corrupted, Subset, open_dataset
from harness.plugins import suite
from harness.suites.bases.detection import ID, SHIFTED, OpenOOD
from harness.suites.bases.openood_lists import FromLists
from harness.types import Condition, Dataset, Geometry


@suite("openood-digits", version=1, dataset="digits", denoiser="digits")
@dataclass(frozen=True)
class OpenOODDigits(OpenOOD):
    """Digits against letters and symbols (near), photographs, textures and scrambled digits (far). No download.

    Every sixth test digit, with Greek letters outside, is for validation, the others for testing: OpenOOD halves
    ImageNet's validation set in this manner. full_spectrum: mildly corrupted digits are in distribution, too.
    """

    near = ("letters", "symbols")
    far = ("patches", "textures", "scrambled")
    shifts = ("gaussian_noise", "motion_blur", "brightness", "jpeg_compression")
    shift_severity = 1
    full_spectrum: bool = False

    def open(self, condition: Condition, seed: int) -> Dataset:
        """The digits, or one of their companions."""
        if condition.group == ID:
            return self._digits(validation=False)
        name = condition.name.partition("/")[2]
        if condition.group == SHIFTED:
            return Corrupted(self._digits(validation=False), name, condition.severity, seed)
        return open_dataset(f"digits-{name}", "test")

    def training(self) -> Dataset:
        """The training split."""
        return open_dataset("digits", "train")

    def validation(self) -> tuple[Dataset, Dataset]:
        """A sixth of the test split, and Greek letters."""
        return self._digits(validation=True), open_dataset("digits-greek", "val")

    def facts(self) -> Mapping[str, str]:
        """A hash of the images that detectors learn from and are tuned on."""
        data = [self.training(), *self.validation()]
        return {"learnt from": hashlib.sha256("".join(d.sha256 for d in data).encode()).hexdigest()[:12]}

    def _digits(self, validation: bool) -> Dataset:
        test = open_dataset("digits", "test")
        return Subset(test, tuple(i for i in range(len(test.ids)) if (i % 6 == 0) == validation))


@suite("openood-imagenet", version=1, dataset="imagenet", denoiser="adm256")
@dataclass(frozen=True)
class OpenOODImageNet(FromLists):
    """ImageNet against SSB-hard and NINCO (near), iNaturalist, Textures and OpenImage-O (far), from OpenOOD's lists."""

    classes = 1000
    geometry = Geometry(resize=256, crop=224, interpolation="bilinear")
    images = "images_largescale"
    elsewhere: ClassVar[Mapping[str, str]] = {"textures": "images_classic"}
    near = ("ssb_hard", "ninco")
    far = ("inaturalist", "textures", "openimage_o")
    shifts = ("imagenet_v2", "imagenet_c", "imagenet_r")
    outside_validation = "val_openimage_o"


@suite("openood-cifar10", version=1, dataset="cifar10", denoiser="cifar10")
@dataclass(frozen=True)
class OpenOODCifar10(FromLists):
    """CIFAR-10 against CIFAR-100 and TinyImageNet (near), MNIST, SVHN, Textures and Places365 (far)."""

    classes = 10
    geometry = Geometry(resize=32, crop=32, interpolation="bilinear")
    images = "images_classic"
    near = ("cifar100", "tin")
    far = ("mnist", "svhn", "texture", "places365")
    shifts = ("cifar10c",)
    outside_validation = "val_tin"
