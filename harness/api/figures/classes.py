"""Classes of the images in a figure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from harness.base.errors import HarnessError

if TYPE_CHECKING:
    from torch import Tensor

    from harness.types import Batch


def classes_of(batch: Batch, given: Sequence[int], count: int) -> Tensor:
    """The classes (B,) int64 of a batch: those given, one per image, or without any its labels.

    count: number of classes. Raises HarnessError for images without a label, and for classes that there are not.
    """
    import torch

    classes = torch.tensor(given) if given else batch.labels
    if len(classes) != len(batch):
        raise HarnessError(f"labels={','.join(map(str, given))}: give one class for each of the {len(batch)} images.")
    for name, label in zip(batch.ids, classes.tolist(), strict=True):
        if not 0 <= label < count:
            remedy = f"Give the class of each image, 0 to {count - 1}, with labels=."
            raise HarnessError(f"{name} has no class here (label {label}). {remedy}")
    return classes
