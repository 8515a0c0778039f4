"""The host's share of every pass: read and augment its samples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch.utils.data import Dataset as TorchDataset

from harness.data import decoded
from harness.train.input.plan import Plan
from harness.train.step import BatchTransform, Step
from harness.types import Batch, HarnessError


@dataclass(frozen=True)
class TrainFeed(TorchDataset[Step]):
    """Reads and augments the samples of a pass, by the pass's number. Any process may prepare any pass.

    augment: the augmentation of every image, those of `extras` included; transforms: what follows it, for `data` alone.
    whole: `augment` takes whole pictures, as they were before the data set's geometry.
    extras: copies of the data set, sample by sample, whose images travel beside.
    originals: a term reads the raw images, so a copy's original is read too, and whole pictures are also brought to
        the data set's geometry.
    """

    plan: Plan
    data: Any
    augment: BatchTransform
    transforms: Sequence[BatchTransform] = ()
    whole: bool = False
    extras: Sequence[Any] = ()
    originals: bool = False

    def __getitem__(self, number: int) -> Step:
        epoch, first, samples = self.plan.samples(number)
        step = self.augment(self._read(self.data, samples, epoch, first))
        copies = [self.augment(self._read(extra, samples, epoch, first)) for extra in self.extras]
        step = replace(step, extras=tuple(copy.augmented.images for copy in copies))
        for transform in self.transforms:
            step = transform(step)
        return replace(step, pictures=())

    def _read(self, data: Any, samples: Sequence[tuple[int, int]], epoch: int, first: int) -> Step:
        """The samples before augmentation; `samples` are (index, repetition), and repetitions have their own ids."""
        indices = [index for index, _ in samples]
        pictures = tuple(data.picture(i) for i in indices) if self.whole else ()
        if not self.whole:
            batch = data.read(indices)
        elif self.originals:
            batch = decoded(data, indices, pictures)
        else:
            batch = _placeholder(data, indices)
        shows_copies = self.originals and hasattr(data, "originals")
        raw = data.read([data.originals[i] for i in indices]) if shows_copies else batch
        ids = tuple(
            name if not again else f"{name}#{again}" for name, (_, again) in zip(batch.ids, samples, strict=True)
        )
        return Step(replace(raw, ids=ids), replace(batch, ids=ids), self.plan.seed, epoch, first, pictures=pictures)


def _placeholder(data: Any, indices: Sequence[int]) -> Batch:
    """A batch whose images the augmentation replaces: NaN, which exposes any reader of the raw images."""
    side = data.geometry.crop
    images = torch.full((len(indices), 3, side, side), torch.nan)
    return Batch(tuple(data.ids[i] for i in indices), images, data.labels[list(indices)])


@dataclass(frozen=True)
class ErrorAsText(TorchDataset[Any]):
    """A feed that returns a HarnessError as its message: from a worker process torch would add a traceback to it."""

    feed: TrainFeed

    def __getitem__(self, number: int) -> Step | str:
        try:
            return self.feed[number]
        except HarnessError as error:
            return str(error)
