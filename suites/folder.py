"""A user's own images: clean, and under the common corruptions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness.data import Place, Recognised, open_dataset
from harness.plugins import suite
from harness.suites.bases.corrupted import CommonCorruptions
from harness.suites.bases.covariate_shift import CleanAccuracy
from harness.types import Dataset, HarnessError

SIDE = 32
"""Height and width of the images in pixels, if no other is given: that of the records so far."""

LARGEST = 2_048
"""Height and width at most."""


class OwnImages:
    """Images in class folders, Parquet files or tars, whatever they show."""

    name: str
    dataset: str
    split: str
    data: str
    image_size: int

    def __post_init__(self) -> None:
        if not 8 <= self.image_size <= LARGEST:
            raise HarnessError(f"{self.name}: image_size={self.image_size} must be at least 8 and at most {LARGEST:,}.")
        super_check = getattr(super(), "__post_init__", None)
        if super_check:
            super_check()

    @classmethod
    def recognise(cls, place: Place) -> Sequence[Recognised]:
        """Whatever no other suite recognises: a split "test" or "val", or class folders of two or more classes."""
        for split in ("test", "val"):
            if place.split(split):
                settings = {"data": str(place.path), **({} if split == "test" else {"split": split})}
                return [Recognised(settings, place.of_splits, fallback=True)]
        if place.classes is None or len(place.folders) < 2 or place.name == "train":
            return ()
        if not all(place.below(name).example for name in place.folders):
            return ()
        above = str(place.path.absolute().parent)
        return [Recognised({"data": above, "split": place.name}, fallback=True)]

    def test_images(self) -> Dataset:
        """The images of the split, resized."""
        more = {} if self.image_size == SIDE else {"image_size": self.image_size}
        return open_dataset(self.dataset, self.split, self.data, **more)


@suite("folder", version=1, dataset="folder")
@dataclass(frozen=True)
class Folder(OwnImages, CleanAccuracy):
    """Clean accuracy on your own images: --data DIR with test/CLASS/*.png, at 32 pixels or image_size=224."""

    data: str = ""
    image_size: int = SIDE
    split: str = "test"


@suite("folder-c", version=1, dataset="folder")
@dataclass(frozen=True)
class FolderC(OwnImages, CommonCorruptions):
    """The common corruptions of your own images: --data DIR with test/CLASS/*.png, at 32 pixels or image_size=224."""

    data: str = ""
    image_size: int = SIDE
    split: str = "test"
