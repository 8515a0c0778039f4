"""A data set: labelled images with stable ids, and the suite of clean accuracy on them."""

from dataclasses import dataclass

import torch
from torch import Tensor

from harness.data import ArrayDataset
from harness.plugins import dataset, suite
from harness.suites.bases.covariate_shift import CleanAccuracy
from harness.types import Geometry

COUNTS = {"train": range(0, 400), "test": range(400, 500)}


def picture(index: int) -> Tensor:
    """A bright disc (even index) or square (odd), (3, 32, 32) uint8, at a place that depends on the index alone."""
    y, x = torch.meshgrid(torch.arange(32), torch.arange(32), indexing="ij")
    dy, dx = y - (8 + 7 * index % 16), x - (8 + 5 * index % 16)
    inside = (dy**2 + dx**2 < 36) if index % 2 == 0 else ((dy.abs() < 6) & (dx.abs() < 6))
    return (200 * inside + 20).to(torch.uint8).expand(3, 32, 32)


# Images on disk need less: harness.data.open_pictures reads folders, Parquet files and tars.
@dataset("my-name", image_size=32, num_classes=2, splits=("train", "test"))
def my_name(split: str) -> ArrayDataset:
    """500 discs and squares, 32x32: 400 for training, 100 for testing."""
    indices = COUNTS[split]
    return ArrayDataset(
        name="my-name",
        # Different names in an order that never changes: they key all noise.
        ids=tuple(f"my-name-{i:03d}" for i in indices),
        pixels=torch.stack([picture(i) for i in indices]),
        labels=torch.tensor([i % 2 for i in indices]),
        num_classes=2,
        geometry=Geometry(resize=32, crop=32, interpolation="bicubic"),
        classes=("disc", "square"),
    )


@suite("my-name", version=1, dataset="my-name")
@dataclass(frozen=True)
class MyName(CleanAccuracy):
    """Clean accuracy on the test shapes."""
