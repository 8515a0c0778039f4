"""OpenOOD v1.5's benchmarks: embedded on the digits, and on ImageNet and CIFAR-10 from OpenOOD's image lists."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import ClassVar

from harness.data import Corrupted, ImageList, Subset, benchmark_classes, open_dataset
from harness.plugins import suite
from harness.suites.detection import FAR, ID, NEAR, SHIFTED, Detection
from harness.types import Condition, Dataset, Geometry, HarnessError


@suite("openood-digits")
@dataclass(frozen=True)
class OpenOODDigits(Detection):
    """Digits against letters and symbols (near), photographs, textures and scrambled digits (far). No download.

    Every sixth test digit, with Greek letters outside, is for validation, the others for testing: OpenOOD halves
    ImageNet's validation set in this manner. full_spectrum: mildly corrupted digits are in distribution, too.
    """

    name: ClassVar[str] = "openood-digits"
    version: ClassVar[int] = 1
    dataset: ClassVar[str] = "digits"
    denoiser: ClassVar[str | None] = "digits"
    near: ClassVar[Sequence[str]] = ("letters", "symbols")
    far: ClassVar[Sequence[str]] = ("patches", "textures", "scrambled")
    shifts: ClassVar[Sequence[str]] = ("gaussian_noise", "motion_blur", "brightness", "jpeg_compression")
    full_spectrum: bool = False

    def conditions(self) -> Sequence[Condition]:
        """The test digits, the same corrupted, and what is no digit."""
        shifted = self.shifts if self.full_spectrum else ()
        return [
            Condition(ID, ID),
            *(Condition(f"{SHIFTED}/{name}", SHIFTED, severity=1) for name in shifted),
            *(Condition(f"{NEAR}/{name}", NEAR) for name in self.near),
            *(Condition(f"{FAR}/{name}", FAR) for name in self.far),
        ]

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
        """A hash of what detectors learn from and are tuned on."""
        data = [self.training(), *self.validation()]
        return {"learnt from": hashlib.sha256("".join(d.sha256 for d in data).encode()).hexdigest()[:12]}

    def _digits(self, validation: bool) -> Dataset:
        test = open_dataset("digits", "test")
        return Subset(test, tuple(i for i in range(len(test.ids)) if (i % 6 == 0) == validation))


SCRIPT = "https://github.com/Jingkang50/OpenOOD/tree/main/scripts/download"
"""What downloads OpenOOD's folder."""


@dataclass(frozen=True)
class FromLists(Detection):
    """Base of the suites that read OpenOOD's folder: DIR/benchmark_imglist, DIR/images_largescale, DIR/images_classic.

    data: DIR. full_spectrum: images in distribution under covariate shift count as in distribution.
    """

    classes: ClassVar[int]
    geometry: ClassVar[Geometry]
    version: ClassVar[int] = 1
    images: ClassVar[str]
    near: ClassVar[Sequence[str]]
    far: ClassVar[Sequence[str]]
    shifts: ClassVar[Sequence[str]]
    outside_validation: ClassVar[str]
    elsewhere: ClassVar[Mapping[str, str]] = {}
    data: str = ""
    full_spectrum: bool = False

    def __post_init__(self) -> None:
        if not self.data:
            raise HarnessError(
                f"{self.name} needs OpenOOD's data folder: --data DIR, with benchmark_imglist in it. "
                f"OpenOOD's script downloads it: {SCRIPT}"
            )

    def conditions(self) -> Sequence[Condition]:
        """OpenOOD's test sets."""
        return [
            Condition(ID, ID),
            *(Condition(f"{SHIFTED}/{name}", SHIFTED) for name in (self.shifts if self.full_spectrum else ())),
            *(Condition(f"{NEAR}/{name}", NEAR) for name in self.near),
            *(Condition(f"{FAR}/{name}", FAR) for name in self.far),
        ]

    def open(self, condition: Condition, seed: int) -> ImageList:
        """One list; one outside distribution must not hold images or classes of the training data."""
        if condition.group == ID:
            return self._list(f"test_{self.dataset}")
        name = condition.name.partition("/")[2]
        return self._list(f"test_{name}", outside=condition.group != SHIFTED)

    def training(self) -> ImageList:
        """The training list."""
        return self._list(f"train_{self.dataset}")

    def validation(self) -> tuple[ImageList, ImageList]:
        """The validation lists."""
        return self._list(f"val_{self.dataset}"), self._list(self.outside_validation, outside=True)

    def facts(self) -> Mapping[str, str]:
        """A hash of all the lists."""
        lists = [self.open(c, 0) for c in self.conditions()] + [self.training(), *self.validation()]
        return {"lists": hashlib.sha256("".join(d.list_sha256 for d in lists).encode()).hexdigest()[:12]}

    def _list(self, stem: str, outside: bool = False) -> ImageList:
        if stem not in self._lists:
            self._lists[stem] = self._open_list(stem, outside)
            if outside:
                self._check_outside(self._lists[stem])
        return self._lists[stem]

    @cached_property
    def _lists(self) -> dict[str, ImageList]:
        """Those that were read, once all are there: ImageNet's have a million lines."""
        stems = [f"{split}_{self.dataset}" for split in ("train", "val", "test")] + [self.outside_validation]
        stems += [f"test_{c.name.partition('/')[2]}" for c in self.conditions() if c.group != ID]
        missing = [f"{stem}.txt" for stem in stems if not (self._folder / f"{stem}.txt").is_file()]
        if missing:
            raise HarnessError(
                f"{self._folder} lacks {', '.join(missing)}. Unpack OpenOOD's benchmark_imglist into --data DIR; "
                f"OpenOOD's script downloads it: {SCRIPT}"
            )
        return {}

    @property
    def _folder(self) -> Path:
        return Path(self.data) / "benchmark_imglist" / self.dataset

    def _open_list(self, stem: str, outside: bool) -> ImageList:
        name = stem.partition("_")[2]
        geometry = self.geometry
        if name == "imagenet_c":
            # These are stored as 224-pixel crops, which OpenOOD takes as they are.
            geometry = replace(geometry, resize=None)
        return ImageList(
            name=self.dataset,
            file=self._folder / f"{stem}.txt",
            root=Path(self.data) / self.elsewhere.get(name, self.images),
            num_classes=self.classes,
            geometry=geometry,
            outside=outside,
            classes=benchmark_classes(self.dataset),
        )

    @cached_property
    def _known(self) -> tuple[set[str], set[str]]:
        """Images in distribution, and the training data's class folders."""
        lists = [self.training(), *(self._list(f"{split}_{self.dataset}") for split in ("val", "test"))]
        return {path for found in lists for path in found.paths}, {Path(path).parent.name for path in lists[0].paths}

    def _check_outside(self, data: ImageList) -> None:
        images, classes = self._known
        for path in data.paths:
            if path in images or Path(path).parent.name in classes:
                raise HarnessError(
                    f"{data.file} is meant to lie outside {self.dataset}, but {path} is one of its images or classes. "
                    "Restore the list from OpenOOD's benchmark_imglist."
                )


@suite("openood-imagenet")
@dataclass(frozen=True)
class OpenOODImageNet(FromLists):
    """ImageNet against SSB-hard and NINCO (near), iNaturalist, Textures and OpenImage-O (far), from OpenOOD's lists."""

    name: ClassVar[str] = "openood-imagenet"
    dataset: ClassVar[str] = "imagenet"
    denoiser: ClassVar[str | None] = "adm256"
    classes: ClassVar[int] = 1000
    geometry: ClassVar[Geometry] = Geometry(resize=256, crop=224, interpolation="bilinear")
    images: ClassVar[str] = "images_largescale"
    elsewhere: ClassVar[Mapping[str, str]] = {"textures": "images_classic"}
    near: ClassVar[Sequence[str]] = ("ssb_hard", "ninco")
    far: ClassVar[Sequence[str]] = ("inaturalist", "textures", "openimage_o")
    shifts: ClassVar[Sequence[str]] = ("imagenet_v2", "imagenet_c", "imagenet_r")
    outside_validation: ClassVar[str] = "val_openimage_o"


@suite("openood-cifar10")
@dataclass(frozen=True)
class OpenOODCifar10(FromLists):
    """CIFAR-10 against CIFAR-100 and TinyImageNet (near), MNIST, SVHN, Textures and Places365 (far)."""

    name: ClassVar[str] = "openood-cifar10"
    dataset: ClassVar[str] = "cifar10"
    denoiser: ClassVar[str | None] = "cifar10"
    classes: ClassVar[int] = 10
    geometry: ClassVar[Geometry] = Geometry(resize=32, crop=32, interpolation="bilinear")
    images: ClassVar[str] = "images_classic"
    near: ClassVar[Sequence[str]] = ("cifar100", "tin")
    far: ClassVar[Sequence[str]] = ("mnist", "svhn", "texture", "places365")
    shifts: ClassVar[Sequence[str]] = ("cifar10c",)
    outside_validation: ClassVar[str] = "val_tin"
