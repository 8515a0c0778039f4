"""Columns of the sample table of generated images, and the metrics that are computed from it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from harness.diffusion.log_probability import log_probability
from harness.generation.score.extractors import Extractor
from harness.metrics.generation.scores import FRECHET, METRICS, ComparedFeatures, full_name
from harness.metrics.generation.verdicts import verdicts
from harness.metrics.intervals import Undefined
from harness.models.tiles import Tiles, finite
from harness.report.ranks.unranked import floor_note, ideal_note
from harness.suites.bases.generated.judges import Judges
from harness.types import Columns, Metric

GENERATED = "generated"
"""The only condition."""

FEATURES = ("judge_features", "extractor_features")
"""Columns of features (B, D) float16."""

NEAR = ("precision", "recall", "density", "coverage", "memorised")
"""Metrics of nearest neighbours."""

SHOWN = ("fd", "fd_infinity", "kid", "inception_score", *NEAR)
"""Metrics in the order of the board."""

SEED = 0
"""Seed of the order in which the subsets of `fd_infinity` grow."""

ROUNDED = 1e-3
"""Slack of log-probabilities, in nats."""


def columns(both: tuple[Extractor, Extractor], images: Tensor, labels: Tensor) -> Columns:
    """Columns for generated images (B, 3, H, W) of the classes asked for, (B,)."""
    features = [finite(one.features(images).half(), f"In float16, features of {one.name}") for one in both]
    logits = _logits(both[0], features[0].float())
    return {
        "prediction": logits.argmax(1),
        "log_probability": log_probability(logits, labels),
        **dict(zip(FEATURES, features, strict=True)),
    }


def _logits(judge: Extractor, features: Tensor) -> Tensor:
    """Logits (B, K) of features (B, D), in tiles: a product of other size has other last bits."""
    assert judge.head
    return Tiles(judge.tile)(judge.head, features)


def empty(both: tuple[Extractor, Extractor], count: int) -> Columns:
    """Columns of samples that are not there yet."""
    features = [torch.zeros(count, one.dimension, dtype=torch.float16) for one in both]
    verdict = {"prediction": torch.zeros(count, dtype=torch.int64), "log_probability": torch.zeros(count)}
    return {**verdict, **dict(zip(FEATURES, features, strict=True))}


def is_whole(columns: Columns | None) -> bool:
    """True for columns in which every sample is there: features of an image are not all zero."""
    return columns is not None and all(bool((columns[name] != 0).any(1).all()) for name in FEATURES)


def summary(rows: Mapping[str, Any], judges: Judges) -> tuple[list[Metric], list[str]]:
    """Metrics of one record, and notes: those of real images for comparison, and what could not be computed."""
    results = verdicts(rows["prediction"] == rows["label"], rows["log_probability"], GENERATED)
    notes = []
    for extractor, column in zip(judges.both, FEATURES, strict=True):
        count = len(rows[column])
        if count < judges.needed(extractor):
            notes.append(
                f"{count} samples of {extractor.dimension} features by {extractor.name}: distances and neighbours "
                f"are computed of {judges.needed(extractor)} or more."
            )
            continue
        sets = compared(rows[column], extractor, judges)
        for name in METRICS:
            try:
                results.append(sets.metric(name, GENERATED))
            except Undefined as reason:
                notes.append(f"No {full_name(name, extractor.name, extractor.published)}: {reason}")
        notes += [ideal(sets, judges), floor(extractor, judges)]
    return results, notes


def compared(generated: NDArray[Any], extractor: Extractor, judges: Judges) -> ComparedFeatures:
    """Features (M, D) beside those of the reference (N, D), for metrics that are named with their extractor.

    n is the number of generated images, also of shares of the reference: those of one record are what it samples.
    """
    statistics = judges.statistics(extractor)
    return extractor.compared(generated, judges.reference(extractor), seed=SEED, statistics=statistics)


@lru_cache(maxsize=8)
def floor(extractor: Extractor, judges: Judges) -> str:
    """A note with the metrics of the real test images beside the reference.

    Without Frechet distances where the test images are too few for them.
    """
    real = judges.real(extractor)
    left_out = FRECHET if len(real) < judges.needed(extractor) else ()
    return floor_note(
        extractor.name, len(real), judges.described, compared(real, extractor, judges).metrics(GENERATED, left_out)
    )


def ideal(sets: ComparedFeatures, judges: Judges) -> str:
    """A note with the values of as many samples of the reference's own distribution."""
    spellings = {"density": "{:g}", "coverage": "{:.1%}", "memorised": "{:.1%}"}
    values = {name: spelling.format(sets.ideal(name)) for name, spelling in spellings.items()}
    return ideal_note(sets.extractor, len(sets.generated), judges.described, values)


def row_faults(rows: Mapping[str, Any], num_classes: int) -> Iterator[str]:
    """Sentences on predictions and log-probabilities of one softmax over `num_classes` that contradict each other."""
    values, right = rows["log_probability"], rows["prediction"] == rows["label"]
    if (values > ROUNDED).any():
        yield "a log-probability is above 0"
    if (right & (values < -np.log(num_classes) - ROUNDED)).any():
        yield "a class is predicted whose probability is below one in the number of classes"
    if (~right & (values > np.log(0.5) + ROUNDED)).any():
        yield "a class is not predicted although its probability is above a half"
