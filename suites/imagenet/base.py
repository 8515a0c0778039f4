"""The base of the suites of published images of ImageNet's classes: geometry, protocol and class folders."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import ClassVar

import torch

from harness import plugins
from harness.data import Place, Recognised, StoredPictures, StoredSplit, open_copy, plain
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

PUBLISHED = "ILSVRC2012_val_"
"""Start of the validation images' names."""

CALLED = re.compile(r"(imagenet|ilsvrc)[-_ ]?(2012(_img)?|1k)?([-_](val|validation|valid)(?![a-z]).*)?$", re.IGNORECASE)
"""Names of ImageNet's folders and files, and of no data set of its classes: not tiny-imagenet or imagenet-sketch."""

LEAST = 128
"""Pixels on the longer side of an image that is not small: Tiny-ImageNet and downsampled ImageNet have 64 at most."""

ORIGINAL = ".JPEG"
"""Suffix of the validation images' names."""


@cache
def wnids() -> tuple[str, ...]:
    """The 1,000 classes as WordNet ids, in the order of their labels; also before data sets are registered."""
    from timm.data import ImageNetInfo

    return tuple(ImageNetInfo().label_names())


def _words() -> Sequence[str]:
    """The hub's names of the 1,000 classes, in the same order."""
    words: Sequence[str] = plugins.dataset["imagenet"].facts["aliases"]()
    return words


def check_protocol(name: str, protocol: str) -> None:
    """Raise HarnessError for an unknown protocol."""
    if protocol not in PROTOCOLS:
        raise suggest("protocol", protocol, list(PROTOCOLS), f" of {name}")


class ValidationSet:
    """Recognises ImageNet's validation set, for the suites that read it as it is stored."""

    @classmethod
    def recognise(cls, place: Place) -> Sequence[Recognised]:
        """A split "val" of classes named by WordNet id or in the hub's words, or of numbered ones.

        Other data sets have these, too: certain are the published names of images, and files or folders called like
        the data set whose images are not small.
        """
        split = place.split("val")
        if split is None:
            return _unsorted(place)
        if split.names and not (set(split.names) <= set(wnids()) or same_list(split.names, _words())):
            return ()
        if split.example.lower().endswith(".png") and "styl" in plain(place.name):
            return ()
        return [Recognised({"data": str(place.path)}, place.of_splits, _doubt(split, place.name))]


def _unsorted(place: Place) -> Sequence[Recognised]:
    """The validation images right in a folder: usable where it is called like the split."""
    if place.classes is None or not set(place.classes.names) <= set(wnids()):
        return ()
    if place.name in ("val", "validation", "valid"):
        root = place.path.absolute().parent
        return [Recognised({"data": str(root)}, doubt=_doubt(place.classes, root.name))]
    if not place.classes.example.startswith(PUBLISHED):
        return ()
    return [Recognised({}, problem="ImageNet's validation images are read from a folder called val: move them there")]


def _doubt(split: StoredSplit, folder: str) -> str:
    """Reason why a split may be another data set's; "" if it cannot. folder: name of the one that holds the split."""
    if split.example.lower().endswith(".png"):
        return "Stylized-ImageNet has the same names in PNG"
    if split.image.startswith(PUBLISHED):
        return ""
    called = [folder, *([split.example] if split.files else [])]
    if not any(CALLED.match(name) for name in called):
        return f"its images are not called {PUBLISHED}*, and its folder is not called imagenet"
    width, height = split.size()
    return f"its images are small, such as {width} x {height}" if 0 < max(width, height) < LEAST else ""


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
