"""A user's own images."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from harness.data import ArrayDataset, StoredPictures, open_pictures
from harness.plugins import dataset
from harness.types import Geometry, HarnessError

SIDE = 32
"""Height and width of every image in pixels."""

AT_ONCE = 256
"""Images per read."""


@dataset("folder", image_size=SIDE, any_size=True, reads_folder=True, splits=("train", "test"))
def folder(split: str, data: Path, image_size: int = SIDE) -> ArrayDataset | StoredPictures:
    """DIR/train/CLASS/*.png and DIR/test/CLASS/*.png, resized to 32x32 (shorter side, bicubic) and centre-cropped.

    The classes are those of the training split, in its order; without one, those of the test split.
    image_size: height and width; images of another size than 32 are decoded when they are read, as many do not fit
        into memory.
    """
    geometry = Geometry(resize=image_size, crop=image_size, interpolation="bicubic")
    images = open_pictures(data, split, geometry, name="folder")
    if split == "train" and images.num_classes < 2:
        raise HarnessError(f"{data}: the training split has one class only, {images.classes[0]!r}. Two are needed.")
    if image_size != SIDE:
        return images
    rows = range(len(images.ids))
    # In the order on disk: sequential reads are fast in every layout.
    order = sorted(rows, key=images.place)
    pieces = [_levels(images.read(order[start : start + AT_ONCE]).images) for start in rows[::AT_ONCE]]
    return ArrayDataset(
        name="folder",
        ids=tuple(f"{split}/{name}" for name in images.ids),
        pixels=torch.cat(pieces)[torch.tensor(order).argsort()],
        labels=images.labels,
        num_classes=images.num_classes,
        geometry=geometry,
        classes=images.classes,
        naming=images.naming,
        unread=tuple(images.unread),
    )


def _levels(images: Tensor) -> Tensor:
    """Images in [0, 1] as uint8, the memory of an image file's pixels."""
    return (images * 255).round().to(torch.uint8)
