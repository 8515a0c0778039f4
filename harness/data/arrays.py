"""Data sets in memory, and data sets derived from others: corrupted, a subset, with more classes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from harness.data import corruptions
from harness.data.classes import UNTOLD, Naming, names_of, naming_of
from harness.data.pictures import fit
from harness.types import Batch, Dataset, Geometry


@dataclass(frozen=True)
class ArrayDataset:
    """A data set that fits into memory.

    ids: N different names. pixels: (N, 3, H, W) uint8 RGB. labels: (N,) int64.
    classes: names by label; empty where classes are only numbered. naming: how labels were matched to classes.
    unread: files among the images that are not read, see `harness.data.folder_contents`.
    """

    name: str
    ids: tuple[str, ...]
    pixels: Tensor
    labels: Tensor
    num_classes: int
    geometry: Geometry
    classes: tuple[str, ...] = ()
    naming: Naming = UNTOLD
    unread: tuple[str, ...] = ()

    @cached_property
    def sha256(self) -> str:
        digest = hashlib.sha256("\n".join(self.ids).encode())
        digest.update(self.labels.numpy().tobytes())
        digest.update(self.pixels.numpy().tobytes())
        if self.classes:
            digest.update(json.dumps(self.classes).encode())
        return digest.hexdigest()

    def where(self, index: int) -> str:
        """The name of an image in messages."""
        return self.ids[index]

    def picture(self, index: int) -> Image.Image:
        """One image, RGB."""
        return Image.fromarray(self.pixels[index].permute(1, 2, 0).numpy())

    def read(self, indices: Sequence[int]) -> Batch:
        rows = torch.as_tensor(list(indices), dtype=torch.long)
        return Batch(tuple(self.ids[i] for i in indices), self.pixels[rows].float() / 255, self.labels[rows])


@dataclass(frozen=True)
class Corrupted:
    """A data set under one of the 15 + 4 corruptions, or a plugin's, made on the fly; ids stay the source images'.

    clean: the source. corruption: its name. severity: 1 to 5.
    seed: the run's seed; each image's randomness is keyed by (seed, corruption, severity, id).
    frost: folder with the original frost photographs, or None for the procedural textures.
    shown: geometry that the corrupted images go through, as if they had been stored; None leaves them as they are.
    """

    clean: Dataset
    corruption: str
    severity: int
    seed: int
    frost: Path | None = None
    shown: Geometry | None = None

    @property
    def name(self) -> str:
        return self.clean.name

    @property
    def num_classes(self) -> int:
        return self.clean.num_classes

    @property
    def geometry(self) -> Geometry:
        return self.shown or self.clean.geometry

    @property
    def ids(self) -> Sequence[str]:
        return self.clean.ids

    @property
    def labels(self) -> Tensor:
        return self.clean.labels

    @property
    def classes(self) -> Sequence[str]:
        return names_of(self.clean)

    @property
    def naming(self) -> Naming:
        return naming_of(self.clean)

    @property
    def sha256(self) -> str:
        return self.clean.sha256

    @property
    def unread(self) -> Sequence[str]:
        """Files among the clean images that are not read."""
        return getattr(self.clean, "unread", ())

    def read(self, indices: Sequence[int]) -> Batch:
        batch = self.clean.read(indices)
        images = corruptions.corrupt(
            batch.images, self.corruption, self.severity, ids=batch.ids, seed=self.seed, frost=self.frost
        )
        if self.shown:
            # Corrupted images lie on the 8-bit grid, so nothing is rounded here.
            levels = (images * 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
            named = zip(levels, batch.ids, strict=True)
            fitted = np.stack([fit(Image.fromarray(level), self.shown, name) for level, name in named])
            images = torch.from_numpy(fitted).permute(0, 3, 1, 2).float() / 255
        return Batch(batch.ids, images, batch.labels)


@dataclass(frozen=True)
class Subset:
    """Some samples of a data set.

    whole: all samples. positions: those of the subset in `whole.ids`, in its order.
    """

    whole: Dataset
    positions: tuple[int, ...]

    @property
    def name(self) -> str:
        return self.whole.name

    @property
    def num_classes(self) -> int:
        return self.whole.num_classes

    @property
    def geometry(self) -> Geometry:
        return self.whole.geometry

    @cached_property
    def ids(self) -> Sequence[str]:
        return tuple(self.whole.ids[i] for i in self.positions)

    @cached_property
    def labels(self) -> Tensor:
        return self.whole.labels[list(self.positions)]

    @cached_property
    def sha256(self) -> str:
        return hashlib.sha256("\n".join([self.whole.sha256, *self.ids]).encode()).hexdigest()

    @property
    def classes(self) -> Sequence[str]:
        return names_of(self.whole)

    @property
    def naming(self) -> Naming:
        return naming_of(self.whole)

    @property
    def unread(self) -> Sequence[str]:
        """Files among the images that are not read."""
        return getattr(self.whole, "unread", ())

    def where(self, index: int) -> str:
        """The place of an image on disk, for messages."""
        stored: Any = self.whole
        return str(stored.where(self.positions[index]))

    def picture(self, index: int) -> Image.Image:
        """One image at its stored size, RGB."""
        stored: Any = self.whole
        image: Image.Image = stored.picture(self.positions[index])
        return image

    def read(self, indices: Sequence[int]) -> Batch:
        return self.whole.read([self.positions[i] for i in indices])


@dataclass(frozen=True)
class Widened:
    """A data set with more classes than its own, to which none of its images belongs.

    whole: the data set. classes: names by label, the data set's own first. They enter the hash, because a choice among
    more classes is another task.
    """

    whole: Dataset
    classes: tuple[str, ...]

    @property
    def name(self) -> str:
        return self.whole.name

    @property
    def num_classes(self) -> int:
        return len(self.classes)

    @property
    def geometry(self) -> Geometry:
        return self.whole.geometry

    @property
    def naming(self) -> Naming:
        return naming_of(self.whole)

    @property
    def ids(self) -> Sequence[str]:
        return self.whole.ids

    @property
    def labels(self) -> Tensor:
        return self.whole.labels

    @cached_property
    def sha256(self) -> str:
        return hashlib.sha256(json.dumps([self.whole.sha256, *self.classes]).encode()).hexdigest()

    @property
    def unread(self) -> Sequence[str]:
        """Files among the images that are not read."""
        return getattr(self.whole, "unread", ())

    def read(self, indices: Sequence[int]) -> Batch:
        return self.whole.read(indices)


def innermost(data: Dataset) -> Dataset:
    """The data set behind subsets and additional classes."""
    while isinstance(data, Subset | Widened):
        data = data.whole
    return data
