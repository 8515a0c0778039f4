"""Analyses of the DiffAug paper by diffusion time: certainty on denoised digits, and accuracy on diffused ones."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from harness.evaluation.records.record import RunRecord
from harness.evaluation.views.batch import Diffused
from harness.metrics.accuracy import accuracy, mean_value
from harness.metrics.intervals import Undefined
from harness.metrics.ranking import Sample
from harness.models.tiles import TiledClassifier
from harness.plugins import suite
from harness.report.figures import draw as figures
from harness.report.names import title, variants
from harness.suites.bases.confidence import kept_logits, summary
from harness.suites.bases.covariate_shift import CovariateShift, check_probabilities
from harness.suites.bases.suite import refuse_denoising
from harness.types import (
    BatchTask,
    Calls,
    Classifier,
    Columns,
    Condition,
    Dataset,
    DiffusedViews,
    HarnessError,
    Method,
    Metric,
    NoisyClassifier,
    Pair,
    times_for,
)

Point = tuple[float, float, float, float]
"""Diffusion time, value, and the ends of its interval."""

LARGEST = math.log(10)
"""Entropy in nats of ten equally probable digits."""

UNIFORM = "uniform"
"""The condition under which every image is diffused to a random time."""

COST = "Denoiser calls: at most; only `denoised` and classifiers that were trained with denoised images make them."


@dataclass(frozen=True)
class ByDiffusionTime(CovariateShift):
    """Base of the suites with a condition per diffusion time. A subclass gives the setting `times`."""

    diffuses: ClassVar[bool] = True
    row_columns: ClassVar[Sequence[str]] = (*CovariateShift.row_columns, "entropy", "time")
    times: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if not self.times or len(set(self.times)) < len(self.times) or min(self.times) < 0:
            raise HarnessError(f"{self.name}: times={self.times} must be distinct and not negative.")

    def conditions(self) -> Sequence[Condition]:
        """One per time."""
        return [Condition(f"t={time}", f"t={time}") for time in self.times]

    def open(self, condition: Condition, seed: int) -> Dataset:
        """The test split at every time: diffused and denoised images are views."""
        return self.test_images()

    def lines(self, entries: Sequence[RunRecord], metric: str) -> dict[tuple[str, str], list[Point]]:
        """By classifier and method the points (time, value, low, high) of a metric, for a figure."""
        lines = {}
        for entry, method in zip(entries, variants(entries), strict=True):
            points = [(time, entry.metric(metric, f"t={time}")) for time in sorted(self.times)]
            lines[entry.model.name, method] = [(t, m.value, *m.interval) for t, m in points if m]
        return lines


@suite("entropy-vs-t", version=1, dataset="digits", denoiser="digits")
@dataclass(frozen=True)
class EntropyVersusTime(ByDiffusionTime):
    """Mean prediction entropy on test digits diffused to time t and denoised in one step, by t; 0 is the image itself.

    Sastry et al., NeurIPS 2024. Entropies are in nats, at most the logarithm of the number of classes.
    """

    methods = ("default",)
    times: tuple[int, ...] = tuple(range(0, 1000, 50))

    @property
    def shown(self) -> Sequence[tuple[str, str]]:  # type: ignore[override]
        """Entropy and accuracy at the middle time, the first and the last."""
        conditions = [f"t={self.times[k]}" for k in dict.fromkeys((len(self.times) // 2, 0, len(self.times) - 1))]
        return [(name, condition) for name in ("mean_entropy", "accuracy") for condition in conditions]

    def tally(self, methods: Sequence[Method], image: Tensor, classes: int) -> Calls:
        """One denoising per image and time, shared by all."""
        calls = super().tally(methods, image, classes)
        return replace(calls, times=tuple(t for t in self.times if t), denoised=1)

    def check(self, methods: Sequence[Method], denoiser: Any) -> None:
        """Methods that denoise are refused: they would denoise twice."""
        refuse_denoising(self.name, methods)

    def columns_of(self, task: BatchTask, pair: Pair) -> Columns:
        """Class, its probability and the entropy, on the denoised images."""
        (denoised,) = task.views.denoised([self.times[self.conditions().index(task.condition)]])
        probabilities = pair.classifier(denoised).softmax(-1)
        check_probabilities(probabilities, pair, len(task.labels))
        confidence, prediction = probabilities.max(1)
        entropy = torch.special.entr(probabilities).sum(1)
        columns = {"prediction": prediction, "confidence": confidence, "entropy": entropy}
        return {**columns, **kept_logits(task, probabilities)}

    def summarise(self, rows: Mapping[str, Any]) -> tuple[list[Metric], list[str]]:
        """Mean entropy and accuracy by time, and the quality of the confidence, a mean over the times."""
        results: list[Metric] = []
        notes: dict[str, None] = {}
        for c in self.conditions():
            cells = rows["condition"] == c.name
            try:
                results.append(mean_value(rows["entropy"][cells], "mean_entropy", c.name, "nats", LARGEST))
            except Undefined as reason:
                notes[str(reason)] = None
            results.append(accuracy(rows["prediction"][cells] == rows["label"][cells], c.name))
        places, correct = self.places(rows), rows["prediction"] == rows["label"]
        judged, judged_notes = summary(rows, correct, places, self.overall(places))
        return [*results, *judged], list(dict.fromkeys([*notes, *judged_notes]))

    def contributions(self, rows: Mapping[str, Any], metric: str, condition: str) -> Sequence[Sample]:
        """See `CovariateShift`: also for the entropy."""
        if metric != "mean_entropy":
            return super().contributions(rows, metric, condition)
        cells = rows["condition"] == condition
        return [Sample(rows["id"][cells], rows["entropy"][cells].astype(float), LARGEST)]

    def figure(self, entries: Sequence[RunRecord]) -> Any:
        """Entropy against time, a line per classifier."""
        points = self.lines(entries, "mean_entropy")
        return figures.lines(points, "diffusion time t", "mean prediction entropy (nats)", title(entries[0]))


@suite("noisy-accuracy", version=1, dataset="digits", denoiser="digits")
@dataclass(frozen=True)
class NoisyAccuracy(ByDiffusionTime):
    """Accuracy on test digits diffused to a uniformly random time, and to each of several times.

    Sastry et al., NeurIPS 2024, Table 4. A classifier that knows the time sees x_t, with its one-step denoising where
    it was trained so; a plain one sees x_t as a clipped image (`default`) or the denoised image alone (`denoised`).
    """

    methods = ("default", "denoised")
    times: tuple[int, ...] = tuple(range(0, 1000, 100))

    @property
    def shown(self) -> Sequence[tuple[str, str]]:  # type: ignore[override]
        """Accuracy at a random time, the mean over the times, and the accuracy at the first and the middle one."""
        conditions = dict.fromkeys(f"t={self.times[k]}" for k in (0, len(self.times) // 2))
        return [("accuracy", UNIFORM), ("mean_accuracy", "mean"), *(("accuracy", name) for name in conditions)]

    def conditions(self) -> Sequence[Condition]:
        """A random time for each image, which enters no mean, and then one condition per time."""
        return [Condition(UNIFORM, UNIFORM, scored=False), *super().conditions()]

    def tally(self, methods: Sequence[Method], image: Tensor, classes: int) -> Calls:
        """At most one denoising per image: for `denoised`, and for classifiers that look at the denoised image."""
        return Calls(self.times, denoised=1, classified=len(methods), at_most=True)

    def check(self, methods: Sequence[Method], denoiser: Any) -> None:
        """Methods that diffuse images themselves are refused by these views."""
        image = torch.zeros(1, 3, 32, 32)
        for method in methods:
            method(Diffused(image, torch.tensor([0]), lambda: image), lambda images: torch.zeros(len(images), 2))

    def columns_of(self, task: BatchTask, pair: Pair) -> Columns:
        """Predicted class, its probability and the time of every image."""
        times = {f"t={time}": time for time in self.times}
        views = task.views.diffused(times.get(task.condition.name))
        probabilities = pair.method(views, _with_times(pair.classifier, views))
        check_probabilities(probabilities, pair, len(task.labels))
        confidence, prediction = probabilities.max(1)
        columns = {"prediction": prediction, "confidence": confidence, "time": views.times}
        return {**columns, **kept_logits(task, probabilities)}

    def summarise(self, rows: Mapping[str, Any]) -> tuple[list[Metric], list[str]]:
        """Accuracy at a random time and at each, and the mean over these."""
        results, notes = super().summarise(rows)
        return results, [*notes, COST]

    def figure(self, entries: Sequence[RunRecord]) -> Any:
        """Accuracy against time, a line per classifier, a panel per method."""
        percent = {
            name: [(t, *(100 * value for value in values)) for t, *values in points]
            for name, points in self.lines(entries, "accuracy").items()
        }
        return figures.lines(percent, "diffusion time t", "accuracy (%)", title(entries[0]))


def _with_times(classifier: Classifier, views: DiffusedViews) -> Classifier:
    """The classifier for methods: one made for diffused images gets their times where a method shows them."""
    assert isinstance(classifier, TiledClassifier)
    network, tiles = classifier.network, classifier.tiles
    if not isinstance(network, NoisyClassifier):
        return classifier

    def classify(images: Tensor) -> Tensor:
        if images is not views.original():
            return classifier(images)
        times = times_for(network, views)
        if network.denoised:
            return tiles(network.noisy, views.noisy, views.restored(), times)
        return tiles(lambda x_t, t: network.noisy(x_t, None, t), views.noisy, times)

    return classify
