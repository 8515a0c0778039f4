"""Features of a data set, tile by tile, kept in the user's cache under everything that decides them."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from contextlib import closing

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from harness.base import cache
from harness.data import decoders
from harness.data.readahead import ordered
from harness.models.tiles import TiledClassifier, Tiles, finite
from harness.types import Dataset, HarnessError, Stage, Weights

KIND = "analysed-features"
"""Folder of these features in the user's cache."""


def classifier_features(
    classifier: TiledClassifier, weights: Weights, data: Dataset, report: Callable[[Stage], None]
) -> NDArray[np.float32]:
    """Penultimate features (n, D) of a classifier; raises HarnessError for one that has none, with the reason."""

    def compute(images: Tensor, ids: Sequence[str]) -> Tensor:
        features = classifier.respond(images)[0]
        if not features.shape[1]:
            reason = classifier.shown(images)[1]
            raise HarnessError(f"The model {weights.name!r} shows no features: {reason}. Leave it out.")
        return features

    return stored(data, weights, classifier.tiles, "penultimate", compute, f"{weights.name} on {data.name}", report)


def stored(
    data: Dataset,
    weights: Weights,
    tiles: Tiles,
    what: str,
    compute: Callable[[Tensor, Sequence[str]], Tensor],
    who: str,
    report: Callable[[Stage], None],
) -> NDArray[np.float32]:
    """Features (n, D) of all images: from the cache where the same network has seen the same images.

    what: settings of the features, in words. compute: features of the images and ids of a tile. who: in messages.
    Raises HarnessError for NaN and infinity.
    """
    count = len(data.ids)
    mark = f"analysed 1 {torch.__version__} {weights.sha256} {weights.name} {what} "
    mark += f"{tiles.device} {tiles.dtype} {tiles.asked} {data.sha256}"
    content = cache.load(KIND, mark)
    if content is not None:
        report(Stage(who, count, count))
        return np.asarray(np.load(io.BytesIO(content), allow_pickle=False))
    places = [range(start, min(start + tiles.size, count)) for start in range(0, count, tiles.size)]
    pieces = []
    with closing(ordered(data.read, places, decoders([data]))) as batches:
        for rows, batch in zip(places, batches, strict=True):
            pieces.append(finite(compute(batch.images, batch.ids), who).numpy().astype(np.float32))
            report(Stage(who, rows.stop, count))
    features = np.concatenate(pieces)
    buffer = io.BytesIO()
    np.save(buffer, features)
    cache.store(KIND, mark, buffer.getvalue())
    return features
