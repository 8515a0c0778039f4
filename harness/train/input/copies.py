"""Copies of a training set on disk, CLASS/IMAGE, such as DeepAugment or a generative model writes."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from harness.data import StoredPictures, class_folders, decoded, open_copy
from harness.data.classes import names_of
from harness.data.folder_contents import check_all_read
from harness.train.augment import offline
from harness.types import Batch, Dataset, Geometry, HarnessError


def open_copies(data: Dataset, folders: Sequence[str]) -> list[StoredPictures]:
    """The copies in these folders; raises HarnessError for one without images or with other classes."""
    for folder in map(Path, folders):
        if (folder / "train").is_dir() and class_folders(folder / "train"):
            raise HarnessError(
                f"--data-extra {folder} is the folder of a data set. Give its images: {folder / 'train'}."
            )
        offline.check_usable(folder)
    copies = [open_copy(Path(folder), data.geometry, offline.class_names(data), data.name) for folder in folders]
    for copy in copies:
        check_all_read(copy)
    return copies


@dataclass(frozen=True, eq=False)
class PairedCopy:
    """A copy whose images stand in the order of the samples that they are copies of.

    number: index of this copy; part of the sample ids, so each copy is augmented independently.
    Raises HarnessError where a sample has no copy.
    """

    data: Any
    copy: StoredPictures
    number: int = 1

    def __post_init__(self) -> None:
        missing = [name for name, place in zip(self.data.ids, self._places, strict=True) if place < 0]
        if missing:
            raise HarnessError(
                f"{self.copy.source.root} lacks copies of {len(missing)} of {len(self.data.ids)} training images, such "
                f"as {missing[0]!r}. Finish it (harness augment goes on where it stopped), or use --extra-as union."
            )

    @cached_property
    def _places(self) -> Sequence[int]:
        return _find(self.data, self.copy)

    @property
    def geometry(self) -> Geometry:
        return self.copy.geometry

    def picture(self, index: int) -> Image.Image:
        return self.copy.picture(self._places[index])

    def where(self, index: int) -> str:
        return self.copy.where(self._places[index])

    @cached_property
    def ids(self) -> Sequence[str]:
        return tuple(f"copy{self.number}/{name}" for name in self.data.ids)

    @property
    def labels(self) -> Tensor:
        labels: Tensor = self.data.labels
        return labels

    def read(self, indices: Sequence[int]) -> Batch:
        return decoded(self, indices)


@dataclass(frozen=True, eq=False)
class WithCopies:
    """A data set and its copies as one, all of whose images are samples."""

    whole: Any
    copies: Sequence[StoredPictures]

    @property
    def name(self) -> str:
        return str(self.whole.name)

    @property
    def num_classes(self) -> int:
        return int(self.whole.num_classes)

    @property
    def classes(self) -> Sequence[str]:
        return names_of(self.whole)

    @property
    def geometry(self) -> Geometry:
        geometry: Geometry = self.whole.geometry
        return geometry

    @cached_property
    def ids(self) -> Sequence[str]:
        return (*self.whole.ids, *(f"copy{k}/{name}" for k, copy in enumerate(self.copies, 1) for name in copy.ids))

    @cached_property
    def labels(self) -> Tensor:
        return torch.cat([self.whole.labels, *(copy.labels for copy in self.copies)])

    @cached_property
    def sha256(self) -> str:
        return hashlib.sha256("\n".join(part.sha256 for part in (self.whole, *self.copies)).encode()).hexdigest()

    @cached_property
    def originals(self) -> Sequence[int]:
        """For every sample the place of its original image; its own place if it has none (synthetic images)."""
        places = list(range(len(self.whole.ids)))
        for copy in self.copies:
            originals = {place: i for i, place in enumerate(_find(self.whole, copy))}
            places += [originals.get(k, len(places) + k) for k in range(len(copy.ids))]
        return places

    @cached_property
    def _homes(self) -> Sequence[tuple[Any, int]]:
        return [(part, i) for part in (self.whole, *self.copies) for i in range(len(part.ids))]

    def picture(self, index: int) -> Image.Image:
        part, place = self._homes[index]
        picture: Image.Image = part.picture(place)
        return picture

    def where(self, index: int) -> str:
        part, place = self._homes[index]
        return str(part.where(place))

    def read(self, indices: Sequence[int]) -> Batch:
        return decoded(self, indices)


def _find(data: Any, copy: StoredPictures) -> list[int]:
    """For every sample the place of its copy, or -1: matched by class and file name.

    `harness augment` names files by `offline.stem`; published copies keep the names of the original files.
    """
    names = zip(copy.labels.tolist(), copy.ids, strict=True)
    places = {(label, Path(name).stem): i for i, (label, name) in enumerate(names)}
    return [
        places.get((label, offline.stem(name)), places.get((label, Path(name).stem), -1))
        for label, name in zip(data.labels.tolist(), data.ids, strict=True)
    ]
