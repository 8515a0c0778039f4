"""From a specification to the record of an analysis: features of every classifier, and their metrics."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, cast

import numpy as np

from harness import plugins
from harness.analysis.extracting import classifier_features
from harness.analysis.record import AnalysedImages, AnalysedModel, AnalysisRecord
from harness.analysis.scores import METHODS, FeatureScores, scored
from harness.analysis.sparse_autoencoder import SparseCodes
from harness.base.errors import suggest
from harness.base.noise import generator
from harness.base.provenance import environment
from harness.data import Subset, open_dataset
from harness.metrics.features.probes import ProbeData
from harness.models.lookup import find_classifier
from harness.models.published.locate import WeightFiles
from harness.models.tiles import TiledClassifier, Tiles
from harness.types import Dataset, HarnessError, Stage

TILE = 100
"""Images per call of a network."""

Report = Callable[[Stage], None]


@dataclass(frozen=True)
class AnalyseSpec:
    """Everything that decides the numbers of an analysis of features.

    models: classifiers, by name or path. dataset, data: its name and folder. analyses: names of `METHODS`; none means
    all. limit: images of each split at most, drawn by a keyed order; 0 for all. shares: of the full accuracy, for
    `pca_classification_dimension`. sparse: settings of the sparse autoencoders.
    """

    models: tuple[str, ...]
    dataset: str = "digits"
    data: str = ""
    analyses: tuple[str, ...] = ()
    limit: int = 10_000
    shares: tuple[float, ...] = (0.95, 0.99)
    sparse: SparseCodes = field(default_factory=SparseCodes)
    seed: int = 0
    device: str = "cpu"

    def __post_init__(self) -> None:
        if not self.models:
            raise HarnessError("Name a classifier whose features are analysed, such as digits/resnet.")
        if len(set(self.models)) < len(self.models):
            raise HarnessError(f"Each classifier is analysed once: {', '.join(self.models)} names one twice.")
        for name in self.analyses:
            if name not in METHODS:
                raise suggest("analysis", name, list(METHODS))
        if not all(0 < share <= 1 for share in self.shares):
            raise HarnessError(f"Shares of the full accuracy {self.shares} must lie in (0, 1].")

    @property
    def chosen(self) -> tuple[str, ...]:
        """The analyses, in the order of `METHODS`."""
        return tuple(name for name in METHODS if not self.analyses or name in self.analyses)


def analyse(
    spec: AnalyseSpec, weight_files: WeightFiles | None = None, report: Report = lambda stage: None
) -> AnalysisRecord:
    """Analyse the features of classifiers: learnt on the training split, measured on the test split.

    weight_files: places of published weights. report: called with the progress. Raises HarnessError for names, data
    and networks that do not fit, before any long work where that can be known.
    """
    train, test = opened(spec)
    networks = [(name, *find_classifier(name, weight_files)) for name in spec.models]
    models = []
    for name, network, weights in networks:
        classifier = TiledClassifier(network, Tiles(TILE, spec.device))
        named = replace(weights, name=name)
        try:
            seen, held_out = (classifier_features(classifier, named, data, report) for data in (train, test))
        except (RuntimeError, TypeError, ValueError, IndexError) as error:
            side = train.geometry.crop
            raise HarnessError(
                f"The model {name!r} fails on images of {side} pixels ({type(error).__name__}: {error}). Leave it out."
            ) from error
        data = ProbeData(seen, train.labels.numpy(), held_out, test.labels.numpy())
        scores: FeatureScores = scored(data, spec.chosen, spec.shares, spec.sparse, spec.seed, name, report)
        models.append(
            AnalysedModel(name, weights.sha256, seen.shape[1], scores.metrics, scores.left_out, classifier.notes)
        )
    return AnalysisRecord(
        settings(spec), _described(train, "train"), _described(test, "test"), models,
        {name: METHODS[name] for name in spec.chosen}, environment(spec.device),
    )  # fmt: skip


def settings(spec: AnalyseSpec) -> Mapping[str, Any]:
    """Every setting by name, the analyses spelled out."""
    return {**asdict(spec), "analyses": spec.chosen}


def opened(spec: AnalyseSpec) -> tuple[Dataset, Dataset]:
    """The images to learn from and those to measure on."""
    splits: Sequence[str] = plugins.dataset[spec.dataset].facts.get("splits", ("train", "test"))
    if "train" not in splits:
        raise HarnessError(f"{spec.dataset!r} has no training split, which probes learn from: {', '.join(splits)}.")
    held_out = "test" if "test" in splits else next(name for name in splits if name != "train")
    train, test = (open_dataset(spec.dataset, split, spec.data) for split in ("train", held_out))
    return limited(train, spec.limit, spec.seed), limited(test, spec.limit, spec.seed)


def limited(data: Dataset, limit: int, seed: int) -> Dataset:
    """So many images of a data set, drawn by a keyed order; all of them for 0."""
    if not 0 < limit < len(data.ids):
        return data
    places = np.sort(generator(seed, "analysed-images", "").permutation(len(data.ids))[:limit])
    return cast(Dataset, Subset(data, tuple(places.tolist())))


def _described(data: Dataset, split: str) -> AnalysedImages:
    return AnalysedImages(data.name, split, data.sha256, len(data.ids))
