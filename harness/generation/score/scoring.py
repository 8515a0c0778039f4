"""From a specification to the record of a scoring: sets opened and checked, features, metrics."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np

from harness import plugins
from harness.base.noise import generator
from harness.base.provenance import environment
from harness.data import Subset, open_dataset
from harness.generation.score.extractors import Extractor, find_extractor
from harness.generation.score.features import features_of
from harness.generation.score.images import ImageSet, OpenedSet, Statistics, of_dataset, open_set
from harness.generation.score.judge import find_judge
from harness.generation.score.memory import STREAMED, check_memory
from harness.generation.score.record import ExtractorScores, MetricRow, ScoredImages, ScoreRecord
from harness.metrics.generation.scores import FRECHET, ComparedFeatures, check_metrics, full_name
from harness.metrics.intervals import Undefined
from harness.models.matching import data_classes
from harness.models.published.locate import WeightFiles
from harness.types import Absent, Dataset, HarnessError, Metric, Stage

Report = Callable[[Stage], None]

METRICS = "metrics in"
"""Start of the name of the stages that compute metrics, and count these."""


@dataclass(frozen=True)
class ScoreSpec:
    """Everything that decides the numbers of a scoring.

    samples: archive or folder of the images that are scored. reference: the same of the images beside them; "" takes
    a split of the data set. dataset: name; with a reference, only its classes matter, and "" has none.
    data: its folder. judge: a model, or "". metrics: names; none means all. See `harness score`.
    """

    samples: str
    reference: str = ""
    extractors: tuple[str, ...] = ("digits/resnet",)
    dataset: str = "digits"
    split: str = "train"
    data: str = ""
    judge: str = ""
    metrics: tuple[str, ...] = ()
    seed: int = 0
    device: str = "cpu"


@dataclass(frozen=True, eq=False)
class Sets:
    """The sets of a scoring.

    reference: name, images and statistics. floor: real images that are not the reference's, or None.
    """

    samples: ImageSet
    reference: OpenedSet
    name: str
    floor: ImageSet | None
    data: Dataset | None


def score(spec: ScoreSpec, report: Report = lambda stage: None, weight_files: WeightFiles | None = None) -> ScoreRecord:
    """Score a set of images. Every mistake in the specification is reported before any long work.

    report: called with the progress. weight_files: places of published weights; without, the weights folder.
    Raises HarnessError for sets, networks and sizes that do not fit together, and for too little memory.
    """
    metrics = check_metrics(spec.metrics)
    sets = _open(spec)
    extractors = [
        find_extractor(text, sets.samples, spec.device, weight_files=weight_files) for text in spec.extractors
    ]
    for extractor in extractors:
        _check(sets, extractor, spec.metrics)
        _check_memory(sets, extractor, metrics)
    judge = find_judge(spec.judge, sets.samples, sets.data, spec.device, weight_files) if spec.judge else None
    scores = [_scores(sets, extractor, metrics, spec.seed, report) for extractor in extractors]
    statistics = sets.reference.statistics
    return ScoreRecord(
        _described(sets.samples),
        _described(sets.reference.images) if sets.reference.images else None,
        sets.name,
        statistics.sha256 if statistics and any(e.published for e in extractors) else "",
        _described(sets.floor) if sets.floor else None,
        spec.seed,
        scores,
        judge.scores(sets.samples, report) if judge else None,
        _notes(sets, metrics),
        environment(spec.device),
    )


def _open(spec: ScoreSpec) -> Sets:
    if not spec.extractors:
        raise HarnessError("No extractor is named: --extractor digits/resnet, or inception:weights=FILE.")
    if spec.dataset and spec.split not in _splits(spec.dataset):
        raise HarnessError(f"--split {spec.split!r}: must be one of {', '.join(_splits(spec.dataset))}.")
    data = open_dataset(spec.dataset, spec.split, spec.data) if spec.dataset else None
    classes = (data_classes(data) or None) if data else None
    samples = open_set(Path(spec.samples), classes, bool(spec.judge)).images
    if samples is None:
        raise HarnessError(f"{spec.samples} holds statistics alone, no images (arr_0). They can be the REFERENCE.")
    if spec.reference:
        return Sets(samples, open_set(Path(spec.reference)), spec.reference, None, data)
    if data is None:
        raise HarnessError("No reference: give a second archive or folder, or a data set with --dataset.")
    name = f"{spec.dataset}/{spec.split}"
    return Sets(samples, OpenedSet(of_dataset(data, name)), name, _floor(spec, samples.n), data)


def _splits(dataset: str) -> Sequence[str]:
    return tuple(plugins.dataset[dataset].facts.get("splits", ("train", "test")))


def _floor(spec: ScoreSpec, count: int) -> ImageSet | None:
    """As many images of the data set's other split as there are samples, or all of them; None if there is none."""
    other = next((split for split in _splits(spec.dataset) if split != spec.split), None)
    try:
        data = open_dataset(spec.dataset, other, spec.data) if other else None
    except Absent:
        return None
    if data is None:
        return None
    if len(data.ids) > count:
        positions = np.sort(generator(spec.seed, "score_floor", "").permutation(len(data.ids))[:count])
        data = cast(Dataset, Subset(data, tuple(positions.tolist())))
    return of_dataset(data, f"{spec.dataset}/{other}")


def _check(sets: Sets, extractor: Extractor, named: Sequence[str]) -> None:
    """Raise HarnessError for sizes and numbers that do not fit together.

    named: metrics that were asked for by name; of all metrics, those that need more images are left out.
    """
    images, statistics = sets.reference.images, sets.reference.statistics
    if images and images.size != sets.samples.size:
        raise HarnessError(
            f"{sets.samples.name} has images of {_size(sets.samples)} pixels, {images.name} of {_size(images)}. Bring "
            "both to one size in one way: otherwise the distance is that of the sizes."
        )
    if not images and not extractor.published:
        raise HarnessError(
            f"{sets.name} holds statistics of Inception features alone, and {extractor.name} has others. Use "
            "--extractor inception:weights=FILE with the published weights, or a reference with images (arr_0)."
        )
    width = extractor.dimension
    if statistics and extractor.published and len(statistics.mean) != width:
        raise HarnessError(
            f"{sets.name}: mu has {len(statistics.mean)} dimensions, {extractor.name} has {width}. It is no reference "
            "of Inception features."
        )
    few = _too_few(sets, extractor)
    if few and set(FRECHET) & set(named):
        others = ", ".join(f"--metric {name}" for name in named if name not in FRECHET)
        raise HarnessError(
            f"{few} images are too few for a Frechet distance in {width} dimensions ({extractor.name}): more than "
            f"{width} are needed, better ten times as many. Add images, or choose other metrics: "
            f"{others or '--metric kid'}."
        )


def _check_memory(sets: Sets, extractor: Extractor, metrics: Sequence[str]) -> None:
    images = _compared_images(sets.reference, extractor, metrics)
    sizes = sets.samples.n, images.n if images else 0
    check_memory(sizes, sets.floor.n if sets.floor else 0, extractor.dimension, metrics, extractor.name)


def _too_few(sets: Sets, extractor: Extractor) -> int:
    """Number of images of the smaller set, where it is too small for a Frechet distance; else 0."""
    images = sets.reference.images
    counted = images if images and not _uses(sets.reference.statistics, extractor) else sets.samples
    fewest = min(sets.samples.n, counted.n)
    return fewest if fewest <= extractor.dimension else 0


def _uses(statistics: Statistics | None, extractor: Extractor) -> bool:
    """True where Frechet distances take the statistics from the reference archive."""
    return statistics is not None and extractor.published


def _compared_images(reference: OpenedSet, extractor: Extractor, metrics: Sequence[str]) -> ImageSet | None:
    """The reference images whose features the metrics need; None where statistics are enough, or all there is."""
    only_statistics = _uses(reference.statistics, extractor) and not set(metrics) - set(STREAMED)
    return None if only_statistics else reference.images


def _scores(sets: Sets, extractor: Extractor, metrics: Sequence[str], seed: int, report: Report) -> ExtractorScores:
    statistics = sets.reference.statistics if _uses(sets.reference.statistics, extractor) else None
    images = _compared_images(sets.reference, extractor, metrics)
    generated = features_of(sets.samples, extractor, report)
    reference = features_of(images, extractor, report) if images else None
    target = statistics.moments if statistics else None
    compared = extractor.compared(generated, reference, seed=seed, statistics=target)
    floor = extractor.compared(features_of(sets.floor, extractor, report), reference, seed=seed) if sets.floor else None
    rows, left_out, few = [], {}, _too_few(sets, extractor)
    for number, metric in enumerate(metrics):
        report(Stage(f"{METRICS} {extractor.name}", number, len(metrics)))
        try:
            if few and metric in FRECHET:
                needed = f"it needs {extractor.dimension + 1:,} images in {extractor.dimension:,} dimensions"
                raise Undefined(f"{needed}, better ten times as many, and here are {few:,}")
            rows.append(MetricRow(compared.metric(metric), _floor_metric(floor, metric), compared.ideal(metric)))
        except Undefined as error:
            left_out[full_name(metric, extractor.name, extractor.published)] = str(error)
    report(Stage(f"{METRICS} {extractor.name}", len(metrics), len(metrics)))
    return ExtractorScores(
        extractor.name, extractor.sha256, extractor.dimension, extractor.resizing, extractor.arithmetic, rows, left_out,
        compared.published_forms(metrics),
    )  # fmt: skip


def _floor_metric(floor: ComparedFeatures | None, metric: str) -> Metric | None:
    """The metric of real images; None without them, and where they are too few."""
    if floor is None or (metric in FRECHET and len(floor.generated) <= floor.generated.shape[1]):
        return None
    try:
        return floor.metric(metric, "real")
    except Undefined:
        return None


def _described(images: ImageSet) -> ScoredImages:
    return ScoredImages(images.name, images.sha256, images.n, images.size)


def _size(images: ImageSet) -> str:
    return f"{images.size[1]} x {images.size[0]}"


def _notes(sets: Sets, metrics: Sequence[str]) -> list[str]:
    """Sentences on what the numbers depend on."""
    notes = []
    if set(FRECHET) & set(metrics) and sets.floor and sets.floor.n != sets.samples.n:
        notes.append(
            f"Frechet distances fall with the number of images: the floor has {sets.floor.n}, the samples "
            f"{sets.samples.n}. Compare values at equal numbers only."
        )
    if "memorised" in metrics and not sets.floor:
        notes.append("The share called memorised means memory only where the reference is the training set.")
    return notes
