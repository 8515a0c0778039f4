"""Images of your own: clean, and under the common corruptions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from harness.data import open_dataset
from harness.plugins import suite
from harness.suites.corrupted import CommonCorruptions
from harness.suites.shift import CovariateShift
from harness.types import Condition, Dataset


@suite("folder")
@dataclass(frozen=True)
class Folder(CovariateShift):
    """Clean accuracy on images of your own: --data DIR with test/CLASS/*.png, at 32 pixels."""

    name: ClassVar[str] = "folder"
    version: ClassVar[int] = 1
    dataset: ClassVar[str] = "folder"
    columns: ClassVar[Sequence[tuple[str, str]]] = (("accuracy", "clean"),)
    data: str = ""

    def conditions(self) -> Sequence[Condition]:
        """One: the images as they are."""
        return [Condition("clean", "clean")]

    def open(self, condition: Condition, seed: int) -> Dataset:
        """DIR/test."""
        return open_dataset(self.dataset, "test", self.data)


@suite("folder-c")
@dataclass(frozen=True)
class FolderC(CommonCorruptions):
    """The common corruptions of images of your own: --data DIR with test/CLASS/*.png, at 32 pixels."""

    name: ClassVar[str] = "folder-c"
    version: ClassVar[int] = 1
    dataset: ClassVar[str] = "folder"
    columns: ClassVar[Sequence[tuple[str, str]]] = (("mean_accuracy", "mean"), ("mean_error", "mean"))
    data: str = ""

    def clean(self) -> Dataset:
        """DIR/test."""
        return open_dataset(self.dataset, "test", self.data)
