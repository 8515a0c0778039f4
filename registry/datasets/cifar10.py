"""CIFAR-10 (Krizhevsky, 2009), from a user's folder."""

from __future__ import annotations

from pathlib import Path

from harness.data import StoredPictures, open_pictures
from harness.plugins import dataset
from harness.types import Geometry

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")

RECIPE = {
    "epochs": 12,
    "batch_size": 128,
    "lr": 3e-3,
    "weight_decay": 0.05,
    "warmup": 2,
    "augment": "crop-flip:least=0.5",
}
"""Settings of trainings of classifiers: those of the bundled cifar10/resnet (80.8 %, results/cifar10.md)."""


@dataset(
    "cifar10",
    image_size=32,
    num_classes=10,
    classes=CLASSES,
    reads_folder=True,
    splits=("train", "test"),
    recipe=RECIPE,
)
def cifar10(split: str, data: Path) -> StoredPictures:
    """CIFAR-10, 32x32: DIR/SPLIT/CLASS/*.png, the hub's Parquet files or webdataset tars; splits train and test."""
    geometry = Geometry(resize=32, crop=32, interpolation="bilinear")
    return open_pictures(data, split, geometry, CLASSES, name="cifar10")
