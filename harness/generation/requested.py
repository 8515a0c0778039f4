"""Samples that a generation is asked for, as a data set: ids and classes, and images that stand in for theirs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from harness.base import noise
from harness.generation.classes import in_turn
from harness.generation.spec import sample_id
from harness.types import Batch, Geometry


@dataclass(frozen=True)
class RequestedSamples:
    """The first `count` samples, asked for in turn of each class: sample k of class k mod K.

    name: of the data set whose classes they are. classes: names by label; empty where classes are only numbered.
    Images are noise of the right size: nothing but checks of networks looks at them.
    """

    name: str
    count: int
    num_classes: int
    geometry: Geometry
    classes: tuple[str, ...] = ()

    @cached_property
    def ids(self) -> Sequence[str]:
        """``sample/000000`` and so on, which key the noise: a larger count begins with the same samples."""
        return [sample_id(number) for number in range(self.count)]

    @cached_property
    def labels(self) -> Tensor:
        """Classes asked for, (N,) int64."""
        return in_turn(range(self.num_classes), self.count)

    @cached_property
    def sha256(self) -> str:
        """Hash of ids, labels, classes and size."""
        digest = hashlib.sha256("\n".join(self.ids).encode())
        digest.update(self.labels.numpy().tobytes())
        digest.update(json.dumps([list(self.classes), self.geometry.crop]).encode())
        return digest.hexdigest()

    def read(self, indices: Sequence[int]) -> Batch:
        """The requests at these positions."""
        ids = tuple(self.ids[index] for index in indices)
        shape = 3, self.geometry.crop, self.geometry.crop
        images = noise.gaussian(shape, seed=0, purpose="generate/placeholder", samples=ids).sigmoid()
        return Batch(ids, images, self.labels[torch.as_tensor(list(indices), dtype=torch.long)])
