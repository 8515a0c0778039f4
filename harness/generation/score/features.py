"""Features of a set of images, piece by piece: never all images in memory, and kept for further metrics."""

from __future__ import annotations

import io
from collections.abc import Callable
from contextlib import closing
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from harness.base import cache
from harness.data.readahead import ordered
from harness.generation.score.extractors import Extractor
from harness.generation.score.images import ImageSet
from harness.types import Stage

PIECE = 4_096
"""Rows that are kept in one file of the cache: what a stopped run has lost at most."""

KIND = "features"
"""Folder of features in the user's cache."""


def features_of(
    images: ImageSet, extractor: Extractor, report: Callable[[Stage], None] = lambda stage: None
) -> NDArray[Any]:
    """Features (n, D) float32 of all images, from the cache where the same network has seen the same images.

    report: called with the progress. Raises HarnessError for images that cannot be read or have another size than the
    network takes, and for NaN and inf.
    """
    extractor.check(images)
    features = np.empty((0, 0), dtype=np.float32)
    for start in range(0, images.n, PIECE):
        stop = min(start + PIECE, images.n)
        mark = f"features 1 {torch.__version__} {extractor.sha256} {extractor.name} {dict(extractor.arithmetic)} "
        mark += f"{images.sha256} {start} {stop}"
        kept = _kept(mark)
        if kept is None:
            kept = _extracted(images, extractor, range(start, stop), report)
            content = io.BytesIO()
            np.save(content, kept)
            cache.store(KIND, mark, content.getvalue())
        report(Stage(f"{extractor.name} on {images.name}", stop, images.n))
        if not start:
            features = np.empty((images.n, kept.shape[1]), dtype=np.float32)  # once: a list of pieces would be a copy
        features[start:stop] = kept
    return features


def _kept(mark: str) -> NDArray[Any] | None:
    """Features in the cache; it is sealed, so that they are as they were written."""
    content = cache.load(KIND, mark)
    return None if content is None else np.asarray(np.load(io.BytesIO(content), allow_pickle=False))


def _extracted(
    images: ImageSet, extractor: Extractor, rows: range, report: Callable[[Stage], None]
) -> NDArray[np.float32]:
    tiles = [range(k, min(k + extractor.tile, rows.stop)) for k in range(rows.start, rows.stop, extractor.tile)]
    pieces = []
    with closing(ordered(lambda tile: images.read(tile.start, tile.stop), tiles, images.workers)) as batches:
        for tile, batch in zip(tiles, batches, strict=True):
            pieces.append(extractor.features(batch).numpy().astype(np.float32))
            report(Stage(f"{extractor.name} on {images.name}", tile.stop, images.n))
    return np.concatenate(pieces)
