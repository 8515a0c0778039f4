"""Estimate of the time of an analysis of features, from a tile of images and a few small analyses timed here."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from harness.analysis.features import TILE, AnalyseSpec
from harness.analysis.scores import scored
from harness.analysis.sparse_autoencoder import SparseCodes, sparse_scores
from harness.metrics.features.probes import ProbeData
from harness.models.lookup import find_classifier
from harness.models.published.locate import WeightFiles
from harness.models.tiles import TiledClassifier, Tiles
from harness.types import Dataset

FEW, OF_A_CLASS = 200, 3
"""Images that the small analyses look at: so many, or so many of each class where these are more."""

SHORT, LONGER = 2, 8
"""Steps of the sparse autoencoders that are timed; their difference is the time of the steps alone."""

SPREAD = 3.0
"""Distance of the classes' means in made-up features, in standard deviations: probes of real ones do as well."""


@dataclass(frozen=True)
class AnalysisEstimate:
    """Seconds of an analysis. features: of the networks, unless they are kept. analyses: by name, of all networks."""

    features: float
    analyses: Mapping[str, float]

    @property
    def seconds(self) -> float:
        """Seconds of everything."""
        return self.features + sum(self.analyses.values())


def estimate(
    spec: AnalyseSpec, train: Dataset, test: Dataset, weight_files: WeightFiles | None = None
) -> AnalysisEstimate:
    """The time of an analysis, from a tile of images in each network, and from made-up features of its dimension.

    Probes take a time that grows with the images to learn from, ranks with those of the test, distances with the square
    of these, and autoencoders with their steps. Raises HarnessError for networks that are not there.
    """
    features = 0.0
    analyses = dict.fromkeys(spec.chosen, 0.0)
    images = train.read([place % len(train.ids) for place in range(TILE)]).images
    for name in spec.models:
        classifier = TiledClassifier(find_classifier(name, weight_files)[0], Tiles(TILE, spec.device))
        classifier.respond(images)  # warms up
        a_tile = _seconds(partial(classifier.respond, images.clone()))
        features += a_tile * (len(train.ids) + len(test.ids)) / TILE
        dimension = classifier.respond(images)[0].shape[1] or 1
        for analysis, seconds in _analyses(spec, train, test, dimension).items():
            analyses[analysis] += seconds
    return AnalysisEstimate(features, analyses)


def _analyses(spec: AnalyseSpec, train: Dataset, test: Dataset, dimension: int) -> dict[str, float]:
    """Seconds of each analysis of one network."""
    count = max(FEW, OF_A_CLASS * train.num_classes)
    few = _made_up(min(len(train.ids), count), min(len(test.ids), count), dimension, train.num_classes)
    learnt, measured = len(train.ids) / len(few.labels), len(test.ids) / len(few.test_labels)
    growth = {"probe": learnt, "pca": learnt, "rank": measured, "sphere": measured**2}
    result = {}
    for analysis in spec.chosen:
        if analysis == "sae":
            result[analysis] = _autoencoders(spec.sparse, train, test, dimension)
        else:
            small = partial(scored, few, [analysis], spec.shares, spec.sparse, spec.seed, "", lambda stage: None)
            result[analysis] = growth[analysis] * _seconds(small)
    return result


def _autoencoders(sparse: SparseCodes, train: Dataset, test: Dataset, dimension: int) -> float:
    """Seconds of the sparse autoencoders of one network."""
    data = _made_up(len(train.ids), len(test.ids), dimension, train.num_classes)
    active = sparse.active[0]
    short, longer = (
        _seconds(partial(sparse_scores, data.features, data.test_features, active, 0, replace(sparse, steps=steps)))
        for steps in (SHORT, LONGER)
    )
    a_training = short + (sparse.steps - SHORT) * max(longer - short, 0.0) / (LONGER - SHORT)
    return a_training * len(sparse.active) * sparse.seeds


def _made_up(train: int, test: int, dimension: int, classes: int) -> ProbeData:
    """Features of normal classes, whose analyses take about as long as those of real ones."""
    rng = np.random.default_rng(0)
    labels = np.arange(train) % classes, np.arange(test) % classes
    means = SPREAD * rng.standard_normal((classes, dimension)) / np.sqrt(2 * dimension)
    learnt, measured = ((means[y] + rng.standard_normal((len(y), dimension))).astype(np.float32) for y in labels)
    return ProbeData(learnt, labels[0], measured, labels[1])


def _seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start
