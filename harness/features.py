"""A classifier's features of its own training data, on disk: what detectors learn from, and search."""

from __future__ import annotations

import hashlib
import inspect
import io
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load, save
from torch import Tensor, nn

from harness import sealed
from harness.data.feed import decoders, ordered
from harness.networks import TiledClassifier, finite
from harness.provenance import key_of
from harness.response import penultimate
from harness.types import Bank, Batch, Dataset, HarnessError, Stage, Weights

PIECE = 4096
"""Rows per file: what is computed and written at once, and searched at once."""

FLOAT32_UP_TO = 2**30
"""Bytes of float32 features above which they are kept in float16: ImageNet's for a ResNet-50 take 5 GB then."""


@dataclass(frozen=True, eq=False)
class StoredFeatures:
    """Features of one data set in files of `PIECE` rows, memory-mapped when read."""

    labels: Tensor
    width: int
    files: tuple[Path, ...]

    def chunks(self) -> Iterator[Tensor]:
        """(n, D) float32, n <= `PIECE`."""
        for file in self.files:
            try:
                piece = np.load(file, mmap_mode="r").astype(np.float32)
            except (ValueError, OSError, EOFError) as error:  # it was whole when the run began
                raise HarnessError(
                    f"{file} was deleted or damaged while this ran ({error}). The same command computes it anew."
                ) from error
            yield torch.from_numpy(piece)


def linear_head(bank: Bank) -> nn.Linear:
    """The head as a layer, read off from what it does; on the CPU. Raises HarnessError where it is not linear."""
    width = bank.train.width
    bias = bank.head(torch.zeros(1, width))
    weight = bank.head(torch.eye(width)) - bias
    probe = torch.linspace(-2, 2, width)[None]
    if not torch.allclose(bank.head(probe), probe @ weight + bias, rtol=1e-3, atol=1e-3):
        raise HarnessError("it takes a linear head apart, and the model's is not linear. Choose another detector.")
    layer = nn.Linear(width, weight.shape[1]).requires_grad_(False)
    layer.weight.copy_(weight.T)
    layer.bias.copy_(bias[0])
    return layer


class Loader:
    """Batches in the shape that another library's loaders have.

    shape: what becomes of a batch. dataset: the images' ids, for those who ask how many there are.
    """

    def __init__(self, data: Dataset, shape: Callable[[Batch], Any], batch_size: int = 128) -> None:
        self.batch_size = batch_size
        self.dataset = data.ids
        self._data, self._shape = data, shape

    def __len__(self) -> int:
        return -(-len(self._data.ids) // self.batch_size)

    def __iter__(self) -> Iterator[Any]:
        for start in range(0, len(self._data.ids), self.batch_size):
            picked = range(start, min(start + self.batch_size, len(self._data.ids)))
            yield self._shape(self._data.read(picked))


@dataclass(frozen=True, eq=False)
class FeatureBank:
    """See `harness.types.Bank`.

    classifier, weights: whose features. training, validating: labelled images in distribution.
    source: what identifies a detector from outside the project. cache: folder. report: told about the progress.
    """

    classifier: TiledClassifier
    weights: Weights
    training: Dataset
    validating: Dataset
    source: str
    cache: Path
    report: Callable[[Stage], None] = field(default=lambda stage: None)

    @property
    def network(self) -> Any:
        """The classifier itself, on its device."""
        return self.classifier.network

    @cached_property
    def train(self) -> StoredFeatures:
        """Of the training images."""
        return self._stored(self.training, "training features")

    @cached_property
    def validation(self) -> StoredFeatures:
        """Of the validation images."""
        return self._stored(self.validating, "validation features")

    def head(self, features: Tensor) -> Tensor:
        """Logits (n, K) of features (n, D), float32 on the CPU."""
        with torch.no_grad():
            logits: Tensor = self.network.head(features.to(self.classifier.tiles.device))
        return logits.float().cpu()

    def remember(self, learn: Callable[[], Mapping[str, Tensor]], *, of: Any) -> Mapping[str, Tensor]:
        """What `learn` makes, or what it made before for the same detector, weights and data."""
        data = [self.training.sha256, self.validating.sha256]
        code = hashlib.sha256(inspect.getsource(sys.modules[type(of).__module__]).encode()).hexdigest()
        key = key_of({**self._identity, "data": data, "of": repr(of), "code": code, "source": self.source})
        file = self.cache / f"{key}.safetensors"
        content = sealed.read_or_tell(file, file.name)
        if content is None:
            made = {name: tensor.contiguous() for name, tensor in learn().items()}
            written = bytearray(save(made, {"seal": sealed.BLANK.decode()}))
            sealed.write(file, written, written.index(sealed.BLANK), file.name)
            content = bytes(written)
        found: dict[str, Tensor] = load(content)
        return found

    @property
    def _identity(self) -> dict[str, Any]:
        tiles = self.classifier.tiles
        called = {"device": tiles.device, "dtype": tiles.dtype, "tile": tiles.asked}
        return {"model": self.weights.sha256, "name": self.weights.name, **called}

    def _stored(self, data: Dataset, what: str) -> StoredFeatures:
        """Computes the pieces that are missing: a run that was stopped, or another shard, may have left some."""
        folder = self.cache / key_of({**self._identity, "data": data.sha256})
        count, size = len(data.ids), self.classifier.tiles.size
        files = tuple(folder / f"{start:08d}.npy" for start in range(0, count, PIECE))
        width = penultimate(self.classifier.respond(data.read([0]).images)[0]).shape[1]
        small = np.float32 if 4 * count * width <= FLOAT32_UP_TO else np.float16
        # Shards that start at different places share the work.
        first = os.getpid() % len(files)
        for piece, file in [*enumerate(files)][first:] + [*enumerate(files)][:first]:
            if sealed.read_or_tell(file, f"{folder.name}/{file.name}") is not None:
                continue
            rows = range(piece * PIECE, min((piece + 1) * PIECE, count))
            tiles = [range(start, min(start + size, rows.stop)) for start in range(rows.start, rows.stop, size)]
            found = []
            with closing(ordered(data.read, tiles, decoders([data]))) as batches:
                for picked, batch in zip(tiles, batches, strict=True):
                    features = self.classifier.respond(batch.images)[0]
                    found.append(finite(features, f"The penultimate layer of {self.weights.name}"))
                    self.report(Stage(f"{what} of {self.weights.name}", picked.stop, count))
            buffer = io.BytesIO()
            np.save(buffer, torch.cat(found).numpy().astype(small))
            place = buffer.tell()
            buffer.write(sealed.BLANK)
            sealed.write(file, buffer.getbuffer(), place, f"{folder.name}/{file.name}")
        return StoredFeatures(data.labels, width, files)
