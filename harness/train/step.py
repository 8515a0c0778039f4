"""What one training step works with, and the feed that prepares it: a function of the step's number alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from PIL.Image import Image
from torch import Tensor
from torch.utils.data import Dataset as TorchDataset

from harness import noise
from harness.data import decoded
from harness.types import Batch, HarnessError


@dataclass(frozen=True)
class Step:
    """The images of one forward and backward pass.

    raw: the images as the data set has them, for a copy the original; augmented: the samples after augmentation.
    first: place of the first image in the epoch's order, whatever the number of processes.
    views: further views (B, 3, H, W) of the augmented images, for a consistency term.
    extras: the same samples out of the extra copies of the data set, augmented.
    pictures: the samples' whole pictures, for augmentations that crop; they stay on the host.
    targets: (B, K) soft labels of the augmented images, where mixing has made them soft.
    """

    raw: Batch
    augmented: Batch
    seed: int
    epoch: int
    first: int = 0
    views: tuple[Tensor, ...] = ()
    extras: tuple[Tensor, ...] = ()
    pictures: tuple[Image, ...] = ()
    targets: Tensor | None = None

    def to(self, device: str) -> Step:
        """The step with its images on a device, convolutions' channels last."""

        def move(images: Tensor) -> Tensor:
            return images.to(device, memory_format=torch.channels_last, non_blocking=True)

        def moved(batch: Batch) -> Batch:
            return Batch(batch.ids, move(batch.images), batch.labels.to(device, non_blocking=True))

        return replace(
            self,
            raw=moved(self.raw),
            augmented=moved(self.augmented),
            views=tuple(map(move, self.views)),
            extras=tuple(map(move, self.extras)),
        )

    def with_images(self, images: Tensor) -> Step:
        """The step with other augmented images."""
        return replace(self, augmented=replace(self.augmented, images=images))

    def pin_memory(self) -> Step:
        """Page-locked copies, which a GPU fetches while it computes; torch's loader calls this."""

        def pinned(batch: Batch) -> Batch:
            return Batch(batch.ids, batch.images.pin_memory(), batch.labels.pin_memory())

        return replace(
            self,
            raw=pinned(self.raw),
            augmented=pinned(self.augmented),
            views=tuple(v.pin_memory() for v in self.views),
            extras=tuple(e.pin_memory() for e in self.extras),
        )


Stage = Callable[[Step], Step]
"""One part of the augmentation, its randomness keyed by (seed, sample, epoch): order and resume change nothing."""


@dataclass(frozen=True)
class Plan:
    """Which samples each pass of each process sees. An epoch's order is a function of (seed, name, epoch).

    images: of the data set `name`. batch_size: of a whole step, in all processes and accumulated passes.
    repeats: draws of a sample in one batch, of which an epoch then sees a share (Hoffer et al., CVPR 2020).
    passes: forward and backward passes per step; rank, world: which of how many processes this is.
    """

    images: int
    name: str
    seed: int
    batch_size: int
    epochs: int
    repeats: int = 1
    passes: int = 1
    rank: int = 0
    world: int = 1

    def __post_init__(self) -> None:
        if self.batch_size > self.images:
            raise HarnessError(
                f"--batch-size {self.batch_size} is larger than what there is to train on ({self.images} images). "
                "Lower it."
            )
        if self.repeats > self.batch_size:
            raise HarnessError(f"--repeats {self.repeats} is more than --batch-size {self.batch_size} holds.")
        if self.batch_size % (self.passes * self.world):
            raise HarnessError(
                f"--batch-size {self.batch_size} cannot be split evenly over {self.world} process(es) with "
                f"--accumulate {self.passes}. Give a multiple of {self.passes * self.world}."
            )

    @property
    def per_epoch(self) -> int:
        """Steps per epoch."""
        return self.images // self.batch_size

    @property
    def steps(self) -> int:
        """Steps of the run."""
        return self.per_epoch * self.epochs

    def samples(self, number: int) -> tuple[int, int, Sequence[tuple[int, int]]]:
        """Epoch, first place in the epoch's order, and (index, repetition) of each sample of this process's pass."""
        step, turn = divmod(number, self.passes)
        epoch, position = divmod(step, self.per_epoch)
        size = self.batch_size // (self.passes * self.world)
        first = position * self.batch_size + (turn * self.world + self.rank) * size
        order = _order(self.seed, self.name, epoch, self.images)
        # The draws of a sample stand far apart: mixup mixes neighbours, and processes share out a batch in pieces.
        different = -(-self.batch_size // self.repeats)
        places = range(first - position * self.batch_size, first - position * self.batch_size + size)
        return epoch, first, [(int(order[position * different + p % different]), p // different) for p in places]


@lru_cache(maxsize=4)
def _order(seed: int, name: str, epoch: int, images: int) -> np.ndarray:
    return noise.generator(seed, "order", name, epoch).permutation(images)


@dataclass(frozen=True)
class Feed(TorchDataset[Step]):
    """The host's share of every pass: reading and augmenting. Any process may prepare any pass.

    augment: what every image goes through; stages: what comes after it, for `data` alone.
    whole: `augment` wants whole pictures, as they were before the data set's geometry.
    extras: copies of the data set, sample by sample, whose images travel beside.
    originals: somebody looks at the raw images, so that for a copy its original must be read, and whole pictures be
        brought to the data set's geometry.
    """

    plan: Plan
    data: Any
    augment: Stage
    stages: Sequence[Stage] = ()
    whole: bool = False
    extras: Sequence[Any] = ()
    originals: bool = False

    def __getitem__(self, number: int) -> Step:
        epoch, first, samples = self.plan.samples(number)
        step = self.augment(self._read(self.data, samples, epoch, first))
        copies = [self.augment(self._read(extra, samples, epoch, first)) for extra in self.extras]
        step = replace(step, extras=tuple(copy.augmented.images for copy in copies))
        for stage in self.stages:
            step = stage(step)
        return replace(step, pictures=())

    def _read(self, data: Any, samples: Sequence[tuple[int, int]], epoch: int, first: int) -> Step:
        indices = [index for index, _ in samples]
        pictures = tuple(data.picture(i) for i in indices) if self.whole else ()
        if not self.whole:
            batch = data.read(indices)
        elif self.originals:
            batch = decoded(data, indices, pictures)
        else:
            batch = self._unseen(data, indices)
        seen = self.originals and hasattr(data, "originals")
        raw = data.read([data.originals[i] for i in indices]) if seen else batch
        names = (name if not again else f"{name}#{again}" for name, (_, again) in zip(batch.ids, samples, strict=True))
        batch = replace(batch, ids=tuple(names))
        return Step(replace(raw, ids=batch.ids), batch, self.plan.seed, epoch, first, pictures=pictures)

    def _unseen(self, data: Any, indices: Sequence[int]) -> Batch:
        """Images that the augmentation replaces before anybody looks; who does look finds no numbers."""
        side = data.geometry.crop
        images = torch.full((len(indices), 3, side, side), torch.nan)
        return Batch(tuple(data.ids[i] for i in indices), images, data.labels[list(indices)])


@dataclass(frozen=True)
class Guarded(TorchDataset[Any]):
    """A feed whose clear errors come out of a worker process as their message, without the traceback torch adds."""

    feed: Feed

    def __getitem__(self, number: int) -> Step | str:
        try:
            return self.feed[number]
        except HarnessError as error:
            return str(error)
