"""Extractors: networks whose features metrics of generated images compare, such as a classifier that judges them."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from harness.base import cache
from harness.models import matching
from harness.models.lookup import find_classifier
from harness.models.tiles import TiledClassifier, Tiles
from harness.types import Dataset, HarnessError

TILE = 100
"""Images per call. Extractors run on the CPU in float32, whatever the run does: a record can be scored again."""

CACHE = "generation-features"
"""Kind of the reference features in the user's cache folder."""


@dataclass(frozen=True, eq=False)
class Extractor:
    """A network whose features are compared.

    name: which metrics show. sha256: of its weights. dimension: D.
    respond: images (B, 3, H, W) in [0, 1] on the CPU to features (B, D) float32.
    head: features (B, D) to logits (B, K) in the order of the data's classes; None for an extractor without classes.
    """

    name: str
    sha256: str
    dimension: int
    respond: Callable[[Tensor], Tensor]
    head: Callable[[Tensor], Tensor] | None = None

    def features(self, images: Tensor) -> Tensor:
        """Features (B, D) float16, as sample tables hold them: metrics are of the rounded ones."""
        return self.respond(images).half()

    def logits(self, features: NDArray[Any]) -> NDArray[Any]:
        """Logits (N, K) float32 of stored features (N, D)."""
        assert self.head
        with torch.no_grad():
            return np.asarray(self.head(torch.from_numpy(np.asarray(features, dtype=np.float32))))


def classifier_extractor(name: str, data: Dataset) -> Extractor:
    """A registered classifier, or one from a path, as an extractor of its penultimate features.

    data: images whose classes its outputs are matched with, by name. Raises HarnessError for a classifier of other
    classes, and for one without features.
    """
    network, weights = find_classifier(name)
    matched = matching.match({"": data}, {name: (network, weights)})
    classifier = TiledClassifier(matched.networks[name], Tiles(TILE))
    few = data.read(range(min(2, len(data.ids)))).images
    shown, reason = classifier.shown(few)
    if reason:
        raise HarnessError(f"{name} shows no features, which metrics of generated images compare: {reason}.")
    width = classifier.respond(few)[0].shape[1]
    return Extractor(name, weights.sha256, width, lambda images: classifier.respond(images)[0], shown.head)


def reference_features(extractor: Extractor, data: Dataset) -> NDArray[Any]:
    """Features (N, D) float16 of all images of a data set, kept in the user's cache folder."""
    mark = f"{extractor.sha256} {data.sha256} {torch.__version__}"
    if content := cache.load(CACHE, mark):
        return np.asarray(np.load(io.BytesIO(content), allow_pickle=False))
    starts = range(0, len(data.ids), TILE)
    batches = [data.read(range(start, min(start + TILE, len(data.ids)))).images for start in starts]
    features = np.concatenate([extractor.features(images).numpy() for images in batches])
    buffer = io.BytesIO()
    np.save(buffer, features)
    cache.store(CACHE, mark, buffer.getvalue())
    return features
