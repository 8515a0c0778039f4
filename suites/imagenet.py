"""ImageNet's validation set, and other images of its 1,000 classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import ClassVar

import torch

from harness.data import StoredPictures, open_copy, open_dataset
from harness.plugins import suggest, suite
from harness.suites.certify import Certification
from harness.suites.corrupted import CommonCorruptions
from harness.suites.published import Published
from harness.suites.shift import CovariateShift
from harness.types import Condition, Dataset, Geometry, HarnessError

RESIZED = Geometry(resize=256, crop=224, interpolation="bilinear")
"""The usual geometry of the validation set, in which most data sets are evaluated by their authors, too."""

CROPPED = Geometry(resize=None, crop=224, interpolation="bilinear")
"""That of images which were stored as 224-pixel crops: they are taken as they are (hendrycks/robustness, test.py)."""

PROTOCOLS = ("official", "resize256")
"""A data set's own geometry, or the DiffAug paper's scripts', which put everything through `RESIZED`."""

VALIDATION = 50_000
PER_CLASS = 50

SAMPLED = 5_000
"""Files per condition whose sizes tell one data set from another: there may be 75 conditions of 50,000."""

ORIGINAL = ".JPEG"
"""What the names of the validation images end in."""


@cache
def wnids() -> tuple[str, ...]:
    """The 1,000 classes as WordNet ids, in the order of their labels."""
    from timm.data import ImageNetInfo

    return tuple(ImageNetInfo().label_names())


def check_protocol(name: str, protocol: str) -> None:
    """Raise HarnessError for a protocol that does not exist."""
    if protocol not in PROTOCOLS:
        raise suggest("protocol", protocol, list(PROTOCOLS), f" of {name}")


@suite("imagenet")
@dataclass(frozen=True)
class ImageNet(CovariateShift):
    """Clean accuracy on ImageNet's validation set: --data DIR with val/WNID/*.JPEG, Parquet files or tars."""

    name: ClassVar[str] = "imagenet"
    version: ClassVar[int] = 1
    dataset: ClassVar[str] = "imagenet"
    denoiser: ClassVar[str | None] = "adm256"
    columns: ClassVar[Sequence[tuple[str, str]]] = (("accuracy", "clean"), ("ece", "clean"), ("nll", "clean"))
    size: ClassVar[int] = VALIDATION
    data: str = ""

    def conditions(self) -> Sequence[Condition]:
        """One: the images as they are."""
        return [Condition("clean", "clean", size=self.size)]

    def open(self, condition: Condition, seed: int) -> Dataset:
        """The validation set."""
        return open_dataset(self.dataset, "val", self.data)


@suite("imagenet-c-gen")
@dataclass(frozen=True)
class ImageNetCGenerated(CommonCorruptions):
    """The common corruptions of ImageNet's validation set, made on the fly: --data DIR as for imagenet.

    Not ImageNet-C: the published images went through JPEG of quality 85 and have other random numbers. AlexNet's error
    rates are of those, so that there is no mCE. protocol: "resize256" enlarges and crops the corrupted images again,
    as the DiffAug paper's scripts do with the published ones.
    """

    name: ClassVar[str] = "imagenet-c-gen"
    version: ClassVar[int] = 1
    dataset: ClassVar[str] = "imagenet"
    denoiser: ClassVar[str | None] = "adm256"
    columns: ClassVar[Sequence[tuple[str, str]]] = tuple(
        (name, "mean") for name in ("mean_accuracy", "mean_error", "ece", "nll")
    )
    size: ClassVar[int] = VALIDATION
    data: str = ""
    protocol: str = "official"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_protocol(self.name, self.protocol)

    def clean(self) -> Dataset:
        """The validation set."""
        return open_dataset(self.dataset, "val", self.data)

    def shown(self) -> Geometry | None:
        """Nothing more, or the paper's geometry."""
        return None if self.protocol == "official" else RESIZED

    def facts(self) -> Mapping[str, str]:
        """The frost textures, and a protocol that the hash of the data does not tell: these are the clean ones."""
        return {**super().facts(), **({} if self.protocol == "official" else {"protocol": self.protocol})}


@dataclass(frozen=True)
class FromImageNet(Published):
    """Base of the suites of published images of ImageNet's classes.

    official: the geometry in which the authors evaluate.
    suffix: what ids end in, where the images are copies of the validation set in whatever format.

    protocol: "official", or "resize256" for that of the DiffAug paper's scripts. Where the two are one, so is the name.
    """

    version: ClassVar[int] = 1
    dataset: ClassVar[str] = "imagenet"
    denoiser: ClassVar[str | None] = "adm256"
    clean_size: ClassVar[int] = VALIDATION
    official: ClassVar[Geometry] = RESIZED
    suffix: ClassVar[str] = ""
    protocol: str = "official"

    def __post_init__(self) -> None:
        check_protocol(self.name, self.protocol)
        if self.official == RESIZED:
            object.__setattr__(self, "protocol", "official")

    @property
    def columns(self) -> Sequence[tuple[str, str]]:  # type: ignore[override]
        """Accuracy under the published conditions, then beside them that on the clean images."""
        names = [c.name for c in self.shifted()]
        return [(name, c) for name in (self.reading, "ece", "nll") for c in names] + [(self.reading, "clean")]

    def shifted(self) -> Sequence[Condition]:
        """One, called as the suite."""
        return [Condition(self.name, self.name, size=self.size)]

    def images(self, condition: Condition) -> Dataset:
        """The images right below DIR."""
        return self.classes(self.place())

    def folders(self) -> Mapping[str, int]:
        """What class folders are called, and the label of each."""
        return {wnid: label for label, wnid in enumerate(wnids())}

    def classes(self, root: Path) -> StoredPictures:
        """The images of the class folders below a folder."""
        folders = self.folders()
        geometry = self.official if self.protocol == "official" else RESIZED
        try:
            data = open_copy(root, geometry, list(folders), self.name, suffix=self.suffix, sampled=SAMPLED)
        except HarnessError as error:
            raise HarnessError(f"{error} {self.name} expects {self.layout}.") from error
        labels = torch.tensor(list(folders.values()))[data.labels]
        return replace(data, name=self.dataset, labels=labels, classes=wnids())


@suite("imagenet-sketch")
@dataclass(frozen=True)
class ImageNetSketch(FromImageNet):
    """Black-and-white drawings of all classes (Wang et al., NeurIPS 2019): --data DIR with WNID/*.JPEG."""

    name: ClassVar[str] = "imagenet-sketch"
    layout: ClassVar[str] = "WNID/*.JPEG, 1,000 folders (sketch/ of the published archive)"
    tops: ClassVar[Sequence[str]] = ("sketch",)
    size: ClassVar[int] = 50_889


@suite("imagenet-stylized")
@dataclass(frozen=True)
class ImageNetStylized(FromImageNet):
    """The validation set in the styles of paintings (Geirhos et al., ICLR 2019): --data DIR with val/WNID/*.png."""

    name: ClassVar[str] = "imagenet-stylized"
    layout: ClassVar[str] = "val/WNID/*.png, as rgeirhos/Stylized-ImageNet writes them at 224 pixels"
    size: ClassVar[int] = VALIDATION
    official: ClassVar[Geometry] = CROPPED
    suffix: ClassVar[str] = ORIGINAL

    def images(self, condition: Condition) -> Dataset:
        """The images below DIR/val."""
        return self.classes(self.place("val"))


@suite("imagenet-v2")
@dataclass(frozen=True)
class ImageNetV2(FromImageNet):
    """A new test set (Recht et al., ICML 2019): --data DIR with imagenetv2-matched-frequency-format-val/0..999/*.jpeg.

    variant: "matched-frequency", "threshold0.7" or "top-images".
    """

    name: ClassVar[str] = "imagenet-v2"
    layout: ClassVar[str] = "imagenetv2-VARIANT-format-val/LABEL/*.jpeg, folders 0 to 999 called by label"
    size: ClassVar[int] = 10_000
    variants: ClassVar[Sequence[str]] = ("matched-frequency", "threshold0.7", "top-images")
    variant: str = "matched-frequency"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.variant not in self.variants:
            raise suggest("variant", self.variant, list(self.variants), f" of {self.name}")

    def shifted(self) -> Sequence[Condition]:
        """One, called as the variant."""
        return [Condition(self.variant, self.variant, size=self.size)]

    def images(self, condition: Condition) -> Dataset:
        """The images of the variant's own folder, which DIR holds or is."""
        folder = f"imagenetv2-{self.variant}-format-val"
        return self.classes(Path(self.data) if Path(self.data).name == folder else self.place(folder))

    def folders(self) -> Mapping[str, int]:
        """Labels are names."""
        return {str(label): label for label in range(len(wnids()))}


@suite("imagenet-certify")
@dataclass(frozen=True)
class ImageNetCertify(Certification):
    """Certified accuracy on every 50th validation image, as Carlini et al. (ICLR 2023): --data DIR as for imagenet.

    Every 50th in the order of the data: as theirs in folders, while Parquet files and tars may keep another order.
    Cohen et al. (ICML 2019) took every 100th, and n=100000.
    """

    name: ClassVar[str] = "imagenet-certify"
    dataset: ClassVar[str] = "imagenet"
    denoiser: ClassVar[str | None] = "adm256"
    every: ClassVar[int] = 50
    size: ClassVar[int] = VALIDATION
    data: str = ""

    def clean(self) -> Dataset:
        """The validation set."""
        return open_dataset(self.dataset, "val", self.data)
