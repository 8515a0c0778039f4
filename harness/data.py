"""Readers: labelled images with stable ids, random access, and a hash that says which data they are."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from harness import corruptions, plugins
from harness.types import Batch, Dataset, Geometry, HarnessError

SAMPLED = 1000
"""Files of a list whose sizes identify its images."""


@dataclass(frozen=True)
class ArrayDataset:
    """A data set that fits into memory.

    pixels: (N, 3, H, W) uint8 RGB.
    labels: (N,) int64.
    classes: names of the classes, in the order of their labels, where they have names.
    """

    name: str
    ids: tuple[str, ...]
    pixels: Tensor
    labels: Tensor
    num_classes: int
    geometry: Geometry
    classes: tuple[str, ...] = ()

    @cached_property
    def sha256(self) -> str:
        digest = hashlib.sha256("\n".join(self.ids).encode())
        digest.update(self.labels.numpy().tobytes())
        digest.update(self.pixels.numpy().tobytes())
        return digest.hexdigest()

    def read(self, indices: Sequence[int]) -> Batch:
        rows = torch.as_tensor(list(indices), dtype=torch.long)
        return Batch(tuple(self.ids[i] for i in indices), self.pixels[rows].float() / 255, self.labels[rows])


@dataclass(frozen=True)
class Corrupted:
    """A data set under one of the common corruptions, generated on the fly; ids stay those of the source images.

    seed: the run's seed; each image's randomness is keyed by (seed, corruption, severity, id).
    frost: folder with the original frost photographs, or None for the procedural textures.
    """

    clean: Dataset
    corruption: str
    severity: int
    seed: int
    frost: Path | None = None

    @property
    def name(self) -> str:
        return self.clean.name

    @property
    def num_classes(self) -> int:
        return self.clean.num_classes

    @property
    def geometry(self) -> Geometry:
        return self.clean.geometry

    @property
    def ids(self) -> Sequence[str]:
        return self.clean.ids

    @property
    def labels(self) -> Tensor:
        return self.clean.labels

    @property
    def sha256(self) -> str:
        return self.clean.sha256

    def read(self, indices: Sequence[int]) -> Batch:
        batch = self.clean.read(indices)
        images = corruptions.corrupt(
            batch.images, self.corruption, self.severity, ids=batch.ids, seed=self.seed, frost=self.frost
        )
        return Batch(batch.ids, images, batch.labels)


@dataclass(frozen=True)
class Subset:
    """Some samples of a data set, in the order of `picked`."""

    whole: Dataset
    picked: tuple[int, ...]

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
        return tuple(self.whole.ids[i] for i in self.picked)

    @cached_property
    def labels(self) -> Tensor:
        return self.whole.labels[list(self.picked)]

    @cached_property
    def sha256(self) -> str:
        return hashlib.sha256("\n".join([self.whole.sha256, *self.ids]).encode()).hexdigest()

    def read(self, indices: Sequence[int]) -> Batch:
        return self.whole.read([self.picked[i] for i in indices])


@dataclass(frozen=True)
class ImageList:
    """Images named by a text file with a line "path label" each: OpenOOD's ``benchmark_imglist``.

    file: the list. root: folder that its paths start from; a path is its image's id, numbered if it is listed again.
    outside: all labels are -1, whatever the list says.
    """

    name: str
    file: Path
    root: Path
    num_classes: int
    geometry: Geometry
    outside: bool = False

    @cached_property
    def _lines(self) -> tuple[tuple[str, int], ...]:
        try:
            lines = [line.rpartition(" ") for line in self.file.read_text().splitlines() if line.strip()]
            found = tuple((path, min(int(label), -1) if self.outside else int(label)) for path, _, label in lines)
        except OSError as error:
            raise HarnessError(
                f"No image list at {self.file} ({error.strerror}). Unpack OpenOOD's benchmark_imglist into --data DIR."
            ) from error
        except ValueError as error:
            raise HarnessError(f"{self.file}: every line must read 'path label' ({error}).") from error
        wrong = [path for path, label in found if not self.outside and not 0 <= label < self.num_classes]
        if wrong or not found:
            what = f"the label of {wrong[0]} is none of the {self.num_classes} classes" if wrong else "it is empty"
            raise HarnessError(f"{self.file}: {what}. Restore the list from OpenOOD's benchmark_imglist.")
        return found

    @cached_property
    def paths(self) -> Sequence[str]:
        """Where the images lie below `root`, in the order of the list."""
        return tuple(path for path, _ in self._lines)

    @cached_property
    def ids(self) -> Sequence[str]:
        seen: Counter[str] = Counter()
        names = []
        for path in self.paths:
            seen[path] += 1
            names.append(path if seen[path] == 1 else f"{path}#{seen[path]}")
        return tuple(names)

    @cached_property
    def labels(self) -> Tensor:
        return torch.tensor([label for _, label in self._lines])

    @cached_property
    def list_sha256(self) -> str:
        """Of the list's names and labels, and of the geometry."""
        text = "\n".join([str(self.geometry), *(f"{path} {label}" for path, label in self._lines)])
        return hashlib.sha256(text.encode()).hexdigest()

    @cached_property
    def sha256(self) -> str:
        """Of the list and of the files' sizes, for `SAMPLED` images spread over it: reading all pixels takes hours."""
        sampled = self.paths[:: max(1, len(self.paths) // SAMPLED)]
        try:
            sizes = [str((self.root / path).stat().st_size) for path in sampled]
        except OSError as error:
            raise HarnessError(f"{error.filename} is not a readable image ({error.strerror}). Restore it.") from error
        return hashlib.sha256("\n".join([self.list_sha256, *sizes]).encode()).hexdigest()

    def read(self, indices: Sequence[int]) -> Batch:
        pixels = np.stack([read_image(self.root / self.paths[i], self.geometry) for i in indices])
        images = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255
        return Batch(tuple(self.ids[i] for i in indices), images, self.labels[list(indices)])


def read_image(file: Path, geometry: Geometry) -> np.ndarray:
    """An image file as (crop, crop, 3) uint8 RGB: shorter side resized, then centre-cropped, as torchvision does it.

    Raises HarnessError, naming the file, for one that cannot be read or is too small.
    """
    try:
        image = Image.open(file).convert("RGB")
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise HarnessError(f"{file} is not a readable image ({error}). Repair or replace it.") from error
    if geometry.resize:
        width, height = image.size
        rest = int(geometry.resize * max(image.size) / min(image.size))
        size = (geometry.resize, rest) if width <= height else (rest, geometry.resize)
        image = image.resize(size, Image.Resampling[geometry.interpolation.upper()])
    if min(image.size) < geometry.crop:
        raise HarnessError(f"{file} has {image.size[0]}x{image.size[1]} pixels, too few for a crop of {geometry.crop}.")
    left, top = (round((side - geometry.crop) / 2) for side in image.size)
    return np.asarray(image.crop((left, top, left + geometry.crop, top + geometry.crop)))


def open_dataset(name: str, split: str, folder: str = "") -> Dataset:
    """A registered data set; `folder` is the ``--data`` of those that read one, and an error for those that do not."""
    entry = plugins.dataset[name]
    reads = entry.facts.get("reads_folder", False)
    if reads != bool(folder):
        raise HarnessError(
            f"Data set {name!r} {'needs its folder: --data DIR' if reads else 'reads no folder: leave out --data'}."
        )
    built: Dataset = entry.build(split, Path(folder)) if reads else entry.build(split)
    return built
