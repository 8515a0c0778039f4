"""A classifier's features of its training data, stored on disk: detectors learn from them and search them."""

from __future__ import annotations

import hashlib
import inspect
import io
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

from harness.base import sealed
from harness.base.provenance import key_of
from harness.data.readahead import decoders, ordered
from harness.evaluation import layers
from harness.evaluation.launch.lease_files import complete
from harness.evaluation.response import penultimate
from harness.models.tiles import TiledClassifier, finite
from harness.types import Bank, Batch, Dataset, HarnessError, Stage, Unsuited, Weights

PIECE = 4096
"""Rows per file: they are computed, written and searched together."""

FLOAT32_UP_TO = 2**30
"""Bytes of float32 features above which they are stored in float16: ImageNet's for a ResNet-50 then take 5 GB."""


def _source_of(cls: type) -> str:
    """The source of the module that has a class; empty for one of a notebook, whose code `source` identifies."""
    try:
        return inspect.getsource(sys.modules[cls.__module__])
    except (OSError, TypeError):
        return ""


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
            except (ValueError, OSError, EOFError) as error:  # it was intact when the run began
                raise HarnessError(
                    f"{file} was deleted or damaged while this ran ({error}). The same command computes it anew."
                ) from error
            yield torch.from_numpy(piece)


RENAMED = {
    "train": "train_features", "validation": "validation_features",
    "training": "train_images", "validating": "validation_images",
}  # fmt: skip
"""Attributes of a bank, by the names that older detectors use."""


def linear_head(bank: Bank) -> nn.Linear:
    """The head as a linear layer on the CPU, recovered from its outputs. Raises `Unsuited` if it is not linear."""
    width = bank.width
    bias = bank.head(torch.zeros(1, width))
    weight = bank.head(torch.eye(width)) - bias
    probe = torch.linspace(-2, 2, width)[None]
    if not torch.allclose(bank.head(probe), probe @ weight + bias, rtol=1e-3, atol=1e-3):
        raise Unsuited("it takes a linear head apart, and the model's is not linear. Choose another detector.")
    layer = nn.Linear(width, weight.shape[1]).requires_grad_(False)
    layer.weight.copy_(weight.T)
    layer.bias.copy_(bias[0])
    return layer


class Loader:
    """Batches in the shape that another library's loaders have.

    shape: from a batch to an item of the loader. dataset: the images' ids, for users of its length.
    """

    def __init__(self, data: Dataset, shape: Callable[[Batch], Any], batch_size: int = 128) -> None:
        self.batch_size = batch_size
        self.dataset = data.ids
        self._data, self._shape = data, shape

    def __len__(self) -> int:
        return -(-len(self._data.ids) // self.batch_size)

    def __iter__(self) -> Iterator[Any]:
        for start in range(0, len(self._data.ids), self.batch_size):
            rows = range(start, min(start + self.batch_size, len(self._data.ids)))
            yield self._shape(self._data.read(rows))


@dataclass(frozen=True, eq=False)
class FeatureBank:
    """See `harness.types.Bank`.

    classifier, weights: the classifier, and the provenance of its weights.
    train_images, validation_images: labelled images in distribution.
    source: fingerprint of a detector from outside the project. cache: folder. report: called with the progress.
    """

    classifier: TiledClassifier
    weights: Weights
    train_images: Dataset
    validation_images: Dataset
    source: str
    cache: Path
    report: Callable[[Stage], None] = field(default=lambda stage: None)

    @property
    def network(self) -> Any:
        """The classifier on its device, with its own features and head or those that it was found to have."""
        return self.classifier.shown(self._first)[0]

    @property
    def width(self) -> int:
        """Number of features D; `Unsuited` for a network without features."""
        return penultimate(self.classifier.respond(self._first)[0], self.classifier.shown(self._first)[1]).shape[1]

    @cached_property
    def _first(self) -> Tensor:
        """The first validation image: training images may be missing."""
        return self.validation_images.read([0]).images

    @cached_property
    def train_features(self) -> StoredFeatures:
        """Features of the training images."""
        return self._stored(self.train_images, "training features")

    @cached_property
    def validation_features(self) -> StoredFeatures:
        """Features of the validation images."""
        return self._stored(self.validation_images, "validation features")

    def head(self, features: Tensor) -> Tensor:
        """Logits (n, K) of features (n, D), float32 on the CPU."""
        _ = self.width
        with torch.no_grad():
            logits: Tensor = self.network.head(features.to(self.classifier.tiles.device))
        return logits.float().cpu()

    def train_layers(self, *names: str) -> Iterator[tuple[Tensor, ...]]:
        """Outputs (n, ...) of layers for the training images, a tile of images at a time: see `harness.types.Bank`."""
        tiles, count = self.classifier.tiles, len(self.train_images.ids)
        for start in range(0, count, tiles.size):
            batch = self.train_images.read(range(start, min(start + tiles.size, count)))
            yield layers.tiled(tiles, self.network, batch.images, names)
            self.report(Stage(f"training layers of {self.weights.name}", start + len(batch), count))

    def remember(self, learn: Callable[[], Mapping[str, Tensor]], *, of: Any) -> Mapping[str, Tensor]:
        """The tensors that `learn` returns, or returned before for the same detector, weights and data."""
        data = [self.train_images.sha256, self.validation_images.sha256]
        code = hashlib.sha256(_source_of(type(of)).encode()).hexdigest()
        key = key_of({**self._identity, "data": data, "of": repr(of), "code": code, "source": self.source})
        file = self.cache / f"{key}.safetensors"

        def write(file: Path) -> None:
            learnt = {name: tensor.contiguous() for name, tensor in learn().items()}
            written = bytearray(save(learnt, {"seal": sealed.BLANK.decode()}))
            sealed.write(file, written, written.index(sealed.BLANK), file.name)

        # One process learns, others wait for it.
        complete([file], lambda file: sealed.read_or_tell(file, file.name) is not None, write)
        tensors: dict[str, Tensor] = load(sealed.read(file, file.name))
        return tensors

    def __getattr__(self, name: str) -> Any:
        if name in RENAMED:
            raise AttributeError(f"a bank has no {name!r}: it is called {RENAMED[name]!r}")
        # Of a property that failed with an AttributeError, this raises that error again, not one about the property.
        return object.__getattribute__(self, name)

    @property
    def _identity(self) -> dict[str, Any]:
        tiles = self.classifier.tiles
        arithmetic = {"device": tiles.device, "dtype": tiles.dtype, "tile": tiles.asked}
        return {"model": self.weights.sha256, "name": self.weights.name, **arithmetic}

    def _stored(self, data: Dataset, what: str) -> StoredFeatures:
        """Features of a data set; computes the files that neither a stopped run nor another process leaves."""
        folder = self.cache / key_of({**self._identity, "data": data.sha256})
        count = len(data.ids)
        files = {
            folder / f"{start:08d}.npy": range(start, min(start + PIECE, count)) for start in range(0, count, PIECE)
        }
        width = self.width
        dtype = np.float32 if 4 * count * width <= FLOAT32_UP_TO else np.float16

        def name(file: Path) -> str:
            return f"{folder.name}/{file.name}"

        complete(
            files,
            lambda file: sealed.read_or_tell(file, name(file)) is not None,
            lambda file: _write_array(file, self._compute(data, files[file], what).astype(dtype), name(file)),
        )
        return StoredFeatures(data.labels, width, tuple(files))

    def _compute(self, data: Dataset, rows: range, what: str) -> np.ndarray:
        """Features (n, D) float32 of these images."""
        size = self.classifier.tiles.size
        tiles = [range(start, min(start + size, rows.stop)) for start in range(rows.start, rows.stop, size)]
        pieces = []
        with closing(ordered(data.read, tiles, decoders([data]))) as batches:
            for tile, batch in zip(tiles, batches, strict=True):
                features = self.classifier.respond(batch.images)[0]
                pieces.append(finite(features, f"The penultimate layer of {self.weights.name}"))
                self.report(Stage(f"{what} of {self.weights.name}", tile.stop, len(data.ids)))
        return torch.cat(pieces).numpy()


def _write_array(file: Path, values: np.ndarray, name: str) -> None:
    """Write an array with a seal behind it. name: of the file, in messages."""
    buffer = io.BytesIO()
    np.save(buffer, values)
    place = buffer.tell()
    buffer.write(sealed.BLANK)
    sealed.write(file, buffer.getbuffer(), place, name)
