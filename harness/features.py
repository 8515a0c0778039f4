"""A classifier's features of its own training data, on disk: what detectors learn from, and search."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from harness.files import writing
from harness.networks import TiledClassifier, finite
from harness.record import key_of
from harness.types import Dataset, HarnessError, Stage, Weights

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
            yield torch.from_numpy(np.load(file, mmap_mode="r").astype(np.float32))


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
            network: Any = self.classifier.network
            logits: Tensor = network.head(features.to(self.classifier.tiles.device))
        return logits.float().cpu()

    def remember(self, learn: Callable[[], Mapping[str, Tensor]], *, of: Any) -> Mapping[str, Tensor]:
        """What `learn` makes, or what it made before for the same detector, weights and data."""
        data = [self.training.sha256, self.validating.sha256]
        key = key_of({**self._identity, "data": data, "of": f"{type(of).__module__}.{of!r}", "source": self.source})
        file = self.cache / f"{key}.safetensors"
        if not file.is_file():
            made = {name: tensor.contiguous() for name, tensor in learn().items()}
            with writing(file) as partial:
                save_file(made, partial)
        found: dict[str, Tensor] = load_file(file)
        return found

    @property
    def _identity(self) -> dict[str, Any]:
        tiles = self.classifier.tiles
        return {"model": self.weights.sha256, "name": self.weights.name, "dtype": tiles.dtype, "tile": tiles.size}

    def _stored(self, data: Dataset, what: str) -> StoredFeatures:
        """Computes the pieces that are missing: a run that was stopped, or another shard, may have left some."""
        folder = self.cache / key_of({**self._identity, "data": data.sha256})
        count, size = len(data.ids), self.classifier.tiles.size
        files = tuple(folder / f"{start:08d}.npy" for start in range(0, count, PIECE))
        width = self.classifier.respond(data.read([0]).images)[0].shape[1]
        if not width:
            raise HarnessError(
                f"Model {self.weights.name!r} shows no penultimate layer, which this detector learns from: "
                "give it features(images) and head(features)."
            )
        small = np.float32 if 4 * count * width <= FLOAT32_UP_TO else np.float16
        for piece, file in enumerate(files):
            if file.is_file():
                continue
            rows = range(piece * PIECE, min((piece + 1) * PIECE, count))
            found = []
            for start in range(rows.start, rows.stop, size):
                picked = range(start, min(start + size, rows.stop))
                features = self.classifier.respond(data.read(picked).images)[0]
                found.append(finite(features, f"The penultimate layer of {self.weights.name}"))
                self.report(Stage(f"{what} of {self.weights.name}", picked.stop, count))
            with writing(file) as partial, partial.open("wb") as out:
                np.save(out, torch.cat(found).numpy().astype(small))
        return StoredFeatures(data.labels, width, files)
