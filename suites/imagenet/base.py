"""The base of the suites of published images of ImageNet's classes: geometry, protocol and class folders."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import ClassVar

import torch

from harness.data import Place, Recognised, StoredPictures, open_copy, plain
from harness.data.classes import same_list
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


class ValidationSet:
    """Recognises ImageNet's validation set, for the suites that read it as it is stored."""

    @classmethod
    def recognise(cls, place: Place) -> Sequence[Recognised]:
        """A split "val" of classes named by WordNet id or in the hub's words, or of numbered ones of that name."""
        split = place.split("val")
        if split is None:
            return _unsorted(place)
        if split.names and not (set(split.names) <= set(wnids()) or _are_words(split.names)):
            return ()
        doubt = ""
        if not split.names and not (split.reads("imagenet", "ilsvrc") or _is_called(place, "imagenet", "ilsvrc")):
            doubt = "its classes are only numbered"
        elif split.example.lower().endswith(".png"):
            if _is_called(place, "styl"):
                return ()
            doubt = "Stylized-ImageNet has the same names in PNG"
        return [Recognised({"data": str(place.path)}, place.of_splits, doubt)]


def _unsorted(place: Place) -> Sequence[Recognised]:
    """The validation images right in a folder: usable where it is called like the split."""
    if place.classes is None or not set(place.classes.names) <= set(wnids()):
        return ()
    if place.name in ("val", "validation", "valid"):
        return [Recognised({"data": str(place.path.absolute().parent)})]
    if not place.classes.example.startswith("ILSVRC2012_val_"):
        return ()
    return [Recognised({}, problem="ImageNet's validation images are read from a folder called val: move them there")]


def _are_words(names: Sequence[str]) -> bool:
    """True for the hub's names of the 1,000 classes."""
    from timm.data import ImageNetInfo

    return same_list(names, ImageNetInfo().label_descriptions())


def _is_called(place: Place, *words: str) -> bool:
    """True if the folder's name holds one of some words, in any spelling."""
    return any(plain(word) in plain(place.name) for word in words)


@dataclass(frozen=True)
class FromImageNet(Published):
    """Base of the suites of published images of ImageNet's classes.

    file_names: start of the published files' names, a regular expression; "" for suites that are recognised otherwise.
    official: the geometry in which the authors evaluate.
    suffix: suffix of the ids where the images are copies of the validation set, in any format.

    protocol: "official", or "resize256" for that of the DiffAug paper's scripts; where both are the same geometry,
        "resize256" is "official".
    """

    clean_size: ClassVar[int] = VALIDATION
    official: ClassVar[Geometry] = RESIZED
    suffix: ClassVar[str] = ""
    file_names: ClassVar[str] = ""
    protocol: str = "official"

    def __post_init__(self) -> None:
        check_protocol(self.name, self.protocol)
        if self.official == RESIZED:
            object.__setattr__(self, "protocol", "official")

    @classmethod
    def recognise(cls, place: Place) -> Sequence[Recognised]:
        """Class folders of the suite's classes with the published files' names, or in a folder of its name."""
        classes = place.classes if cls.file_names else None
        if classes is None or not set(classes.names) <= cls(data=str(place.path)).folders().keys():
            return ()
        is_named = plain(place.name) in (plain(cls.name), *map(plain, cls.tops))
        is_certain = is_named or re.match(cls.file_names, classes.example)
        doubt = "" if is_certain else "its classes and files fit several data sets"
        return [Recognised({"data": str(place.path)}, doubt=doubt)]

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
