"""The base of the suites of published images of ImageNet's classes: geometry, protocol and class folders."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import ClassVar

import torch

from harness.data import StoredPictures, open_copy
from harness.plugins import suggest
from harness.suites.bases.published import Published
from harness.types import Condition, Dataset, Geometry, HarnessError

RESIZED = Geometry(resize=256, crop=224, interpolation="bilinear")
"""The usual geometry of the validation set, in which most authors evaluate their data sets, too."""

CROPPED = Geometry(resize=None, crop=224, interpolation="bilinear")
"""The geometry of images stored as 224-pixel crops: they are taken as they are (hendrycks/robustness, test.py)."""

PROTOCOLS = ("official", "resize256")
"""A data set's own geometry, or that of the DiffAug paper's scripts, which put everything through `RESIZED`."""

VALIDATION = 50_000
"""Images of the validation set."""

PER_CLASS = 50
"""Images of the validation set per class."""

SAMPLED = 5_000
"""Files per condition whose sizes tell one data set from another: there may be 75 conditions of 50,000."""

ORIGINAL = ".JPEG"
"""Suffix of the validation images' names."""


@cache
def wnids() -> tuple[str, ...]:
    """The 1,000 classes as WordNet ids, in the order of their labels."""
    from timm.data import ImageNetInfo

    return tuple(ImageNetInfo().label_names())


def check_protocol(name: str, protocol: str) -> None:
    """Raise HarnessError for an unknown protocol."""
    if protocol not in PROTOCOLS:
        raise suggest("protocol", protocol, list(PROTOCOLS), f" of {name}")


@dataclass(frozen=True)
class FromImageNet(Published):
    """Base of the suites of published images of ImageNet's classes.

    official: the geometry in which the authors evaluate.
    suffix: suffix of the ids where the images are copies of the validation set, in any format.

    protocol: "official", or "resize256" for that of the DiffAug paper's scripts; where both are the same geometry,
        "resize256" is "official".
    """

    clean_size: ClassVar[int] = VALIDATION
    official: ClassVar[Geometry] = RESIZED
    suffix: ClassVar[str] = ""
    protocol: str = "official"

    def __post_init__(self) -> None:
        check_protocol(self.name, self.protocol)
        if self.official == RESIZED:
            object.__setattr__(self, "protocol", "official")

    @property
    def shown(self) -> Sequence[tuple[str, str]]:  # type: ignore[override]
        """Accuracy and calibration under the published conditions, then the accuracy on the clean images."""
        names = [c.name for c in self.shifted()]
        return [(name, c) for name in (self.reading, "ece", "nll") for c in names] + [(self.reading, "clean")]

    def shifted(self) -> Sequence[Condition]:
        """One, named after the suite."""
        return [Condition(self.name, self.name, size=self.size)]

    def images(self, condition: Condition) -> Dataset:
        """The images right below DIR."""
        return self.classes(self.place())

    def folders(self) -> Mapping[str, int]:
        """Names of the class folders, and the label of each."""
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
