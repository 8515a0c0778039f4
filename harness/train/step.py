"""The images of one training step, and the signature of what transforms them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from PIL.Image import Image
from torch import Tensor

from harness.types import Batch


@dataclass(frozen=True)
class Step:
    """The images of one forward and backward pass: B samples, (B, 3, H, W) float32 in [0, 1].

    raw: the images as the data set has them, for a copy the original; augmented: the samples after augmentation.
    first: place of the first image in the epoch's order, the same for any number of processes.
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


BatchTransform = Callable[[Step], Step]
"""One part of the augmentation, its randomness keyed by (seed, sample, epoch): order and resume change nothing."""
