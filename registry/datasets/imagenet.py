"""ImageNet-1k (Russakovsky et al., IJCV 2015), from a user's folder."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from harness.data import StoredPictures, open_pictures
from harness.plugins import dataset
from harness.types import Geometry

RECIPE = {
    "epochs": 90,
    "batch_size": 256,
    "optimizer": "momentum",
    "lr": 0.1,
    "schedule": "step:30",
    "weight_decay": 1e-4,
    "decay": "all",
    "clip": 0.0,
    "augment": "crop-flip",
}
"""Settings of trainings of convolutional networks (He et al., CVPR 2016; torchvision's V1 recipe for ResNet-50)."""


@cache
def wnids() -> tuple[str, ...]:
    """The 1,000 classes as WordNet ids, in the order of their labels."""
    from timm.data import ImageNetInfo

    return tuple(ImageNetInfo().label_names())


@cache
def descriptions() -> tuple[str, ...]:
    """The classes in words, in the same order."""
    from timm.data import ImageNetInfo

    return tuple(ImageNetInfo().label_descriptions())


@dataset(
    "imagenet",
    image_size=224,
    resized=True,
    num_classes=1000,
    classes=wnids,
    aliases=descriptions,
    reads_folder=True,
    splits=("train", "val"),
    recipe=RECIPE,
)
def imagenet(split: str, data: Path) -> StoredPictures:
    """ImageNet-1k, 224x224: DIR/SPLIT/WNID/*.JPEG, the hub's Parquet files or webdataset tars; splits train and val.

    Labels count the sorted WordNet ids, also if only some of the classes are there. The split ``test`` is ``val``, as
    usual: labels of the test images were never published.
    """
    return open_pictures(
        data,
        "val" if split == "test" else split,
        Geometry(resize=256, crop=224, interpolation="bilinear"),
        wnids(),
        name="imagenet",
        aliases=descriptions(),
        named=True,
    )
