"""Readers: labelled images with stable ids, random access, and a hash that says which data they are."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from harness import corruptions, plugins
from harness.types import Batch, Dataset, Geometry, HarnessError


@dataclass(frozen=True)
class ArrayDataset:
    """A data set that fits into memory.

    pixels: (N, 3, H, W) uint8 RGB.
    labels: (N,) int64.
    """

    name: str
    ids: tuple[str, ...]
    pixels: Tensor
    labels: Tensor
    num_classes: int
    geometry: Geometry

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
