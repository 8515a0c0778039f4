"""Accuracy under covariate shift: a prediction per image and condition, accuracies, mCE, calibration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from torch import Tensor

from harness.evaluation.records.record import RunRecord
from harness.metrics import calibration
from harness.metrics.accuracy import accuracy, matrix, mce, mean_accuracy, mean_error
from harness.metrics.intervals import Undefined
from harness.metrics.ranking import Sample
from harness.models.tiles import finite
from harness.report import comparison
from harness.report.figures import draw as figures
from harness.report.table import Table
from harness.suites.bases import confidence
from harness.suites.bases.confidence import kept_logits
from harness.suites.bases.suite import SuiteBase
from harness.types import BatchTask, Columns, Condition, Dataset, HarnessError, Metric, Pair

MEAN, POOLED = "mean", "all"
"""Conditions that stand for all others: their mean over the same images, and the pool of all their images."""


class CovariateShift(SuiteBase):
    """Base of the suites that measure top-1 accuracy under one or more conditions.

    A subclass gives `conditions` and `open`, and `reference` where mCE is defined.

    same_images: the conditions that are averaged show the same source images; otherwise their images are pooled.
    reading: name of the accuracies.
    """

    shown: ClassVar[Sequence[tuple[str, str]]] = (("mean_accuracy", MEAN),)
    keeps_logits: ClassVar[bool] = True
    row_columns: ClassVar[Sequence[str]] = ("confidence", "probability", "logits")
    same_images: ClassVar[bool] = True
    reading: ClassVar[str] = "accuracy"

    def reference(self) -> Mapping[str, float] | None:
        """Error rate per condition of mCE's reference classifier, such as AlexNet for ImageNet-C; None without mCE."""
        return None

    def columns_of(self, task: BatchTask, pair: Pair) -> Columns:
        """Predicted class, its probability and that of the true class for every image, by one pair."""
        probabilities = pair.method(task.views, pair.classifier)
        check_probabilities(probabilities, pair, len(task.labels))
        largest, prediction = probabilities.max(1)
        true = probabilities.gather(1, task.labels[:, None])[:, 0]
        columns = {"prediction": prediction, "confidence": largest, "probability": true}
        return {**columns, **kept_logits(task, probabilities)}

    def summarise(self, rows: Mapping[str, Any]) -> tuple[list[Metric], list[str]]:
        """Accuracy per condition and corruption, their mean, mCE, calibration error and negative log-likelihood.

        Sample tables of older versions lack the true class's probability, and so the last two. Metrics of
        `harness.suites.bases.confidence` are of the mean, the pool or the only condition alone. `harness.metrics`
        defines the intervals.
        """
        correct = rows["prediction"] == rows["label"]
        places = self.places(rows)
        alone = {name: cells[:, 0] for name, cells in places.items() if name != MEAN}
        results = [accuracy(correct[cells], name, self.reading) for name, cells in alone.items()]
        notes = self._gaps(rows, places)
        if MEAN in places:
            means, mean_notes = self._means(correct[places[MEAN]])
            results += means
            notes += mean_notes
        if "probability" in rows:
            calibrations, calibration_notes = _calibration(rows, correct, places)
            results += calibrations
            notes += calibration_notes
        judged, judged_notes = confidence.summary(rows, correct, places, self.overall(places))
        return [*results, *judged], [*notes, *judged_notes]

    def overall(self, places: Mapping[str, Any]) -> str:
        """The condition that stands for the whole table: the mean, the pool, or the first scored one; "" for none."""
        scored = [c.name for c in self.conditions() if c.scored]
        return next((name for name in (MEAN, POOLED, *scored) if name in places), "")

    def _means(self, correct: Any) -> tuple[list[Metric], list[str]]:
        """Means per corruption and over all, and mCE. correct: (n_images, n_scored) bool."""
        scored = [c for c in self.conditions() if c.scored]
        by_group = group_means(correct, scored)
        results: list[Metric] = []
        if by_group.shape[1] < correct.shape[1]:
            groups = dict.fromkeys(c.group for c in scored)
            results += [mean_accuracy(by_group[:, [k]], condition=group) for k, group in enumerate(groups)]
        results += [mean_accuracy(correct), mean_error(correct)]
        rates = self.reference()
        if rates is None:
            return results, []
        reference = group_means(np.array([[rates[c.name] for c in scored]]), scored)[0]
        try:
            return [*results, mce(1 - by_group, reference)], []
        except Undefined as reason:
            return results, [str(reason)]

    def places(self, rows: Mapping[str, Any]) -> dict[str, Any]:
        """Row numbers in the sample table of each condition's images, (n_images, 1), and last those of its mean.

        The mean is "mean", (n_images, n_scored), over conditions that show the same images; "all", (n_images, 1), over
        conditions that show different images; a single condition has none. An image without a row under one of the
        conditions, because it could not be read there, is in no mean.
        """
        by_condition = {c.name: np.flatnonzero(rows["condition"] == c.name)[:, None] for c in self.conditions()}
        places = {name: cells for name, cells in by_condition.items() if len(cells)}
        scored = [c.name for c in self.conditions() if c.scored]
        if len(scored) > 1 and self.same_images:
            cells = _of_complete_images(rows["id"], [by_condition[name][:, 0] for name in scored])
            if len(cells):
                places[MEAN] = matrix(rows["id"][cells], rows["condition"][cells], cells, scored)
        elif len(scored) > 1:
            places[POOLED] = np.concatenate([by_condition[name] for name in scored])
        return places

    def _gaps(self, rows: Mapping[str, Any], places: Mapping[str, Any]) -> list[str]:
        """Notes on conditions and images that the sample table lacks."""
        notes = [f"No image under {c.name}." for c in self.conditions() if c.name not in places]
        scored = [c.name for c in self.conditions() if c.scored and c.name in places]
        if self.same_images and len(scored) > 1:
            images = len(set().union(*(rows["id"][places[name][:, 0]] for name in scored)))
            if (averaged := len(places.get(MEAN, ()))) < images:
                notes.append(
                    f"The mean is over the {averaged} of {images} images that are there under every condition."
                )
        return notes

    def contributions(self, rows: Mapping[str, Any], metric: str, condition: str) -> Sequence[Sample]:
        """See `SuiteBase`: for the accuracies, their means, mean error, and mCE with published rates."""
        places = self.places(rows)
        cells = places.get(condition if metric == self.reading else MEAN)
        if cells is None or metric not in (self.reading, "mean_accuracy", "mean_error", "mce"):
            return super().contributions(rows, metric, condition)
        correct = (rows["prediction"] == rows["label"])[cells]
        images = rows["id"][cells[:, 0]]
        if condition == POOLED:  # of different images, which may share a name
            images = np.char.add(np.char.add(rows["condition"][cells[:, 0]].astype(str), " "), images.astype(str))
        if metric == self.reading:
            return [Sample(images, correct[:, 0].astype(float), 1.0)]
        scored = [c for c in self.conditions() if c.scored]
        by_group, groups = group_means(correct, scored), list(dict.fromkeys(c.group for c in scored))
        if condition in groups:
            return [Sample(images, by_group[:, groups.index(condition)], 1.0)]
        if metric != "mce":
            mean = correct.mean(axis=1)
            return [Sample(images, mean if metric == "mean_accuracy" else 1 - mean, 1.0)]
        rates = self.reference()
        if rates is None:
            return super().contributions(rows, metric, condition)
        reference = group_means(np.array([[rates[c.name] for c in scored]]), scored)[0]
        return [Sample(images, ((1 - by_group) / reference).mean(axis=1), float((1 / reference).mean()))]

    def figure(self, entries: Sequence[RunRecord]) -> Any:
        """The leaderboard as dots with intervals."""
        return figures.ranking(entries)

    def compare(self, a: RunRecord, b: RunRecord) -> Table:
        """Paired differences of accuracy."""
        return comparison.table(comparison.compare(a, b))


@dataclass(frozen=True)
class CleanAccuracy(CovariateShift):
    """Base of the suites of top-1 accuracy on the test images of a data set as they are stored."""

    shown: ClassVar[Sequence[tuple[str, str]]] = (("accuracy", "clean"),)

    def conditions(self) -> Sequence[Condition]:
        """One: the images as they are."""
        return [Condition("clean", "clean", size=self.size)]

    def open(self, condition: Condition, seed: int) -> Dataset:
        """The test images."""
        return self.test_images()


def _calibration(rows: Mapping[str, Any], correct: Any, places: Mapping[str, Any]) -> tuple[list[Metric], list[str]]:
    """Calibration error and negative log-likelihood, with intervals, under every condition and over all."""
    results: list[Metric] = []
    notes: dict[str, None] = {}
    for name, cells in places.items():
        try:
            results.append(calibration.ece(correct[cells], rows["confidence"][cells], name))
            results.append(calibration.nll(rows["probability"][cells], name))
        except Undefined as reason:
            notes[str(reason)] = None
    return results, list(notes)


def _of_complete_images(ids: Any, cells: Sequence[Any]) -> Any:
    """Row numbers (n,) of the images that have a row under every condition. cells: row numbers, per condition."""
    images = [set(ids[rows]) for rows in cells]
    complete = set.intersection(*images)
    rows = np.concatenate(cells)
    if all(len(some) == len(complete) for some in images):
        return rows
    return rows[[name in complete for name in ids[rows]]]


def check_probabilities(probabilities: Tensor, pair: Pair, images: int) -> None:
    """Raise HarnessError unless these are (images, K) class probabilities."""
    if probabilities.ndim != 2 or len(probabilities) != images:
        raise HarnessError(f"{pair.method_name} returned {tuple(probabilities.shape)} for {images} images, not (B, K).")
    finite(probabilities, f"{pair.model} with {pair.method_name}")
    if bool((probabilities < 0).any()) or bool((probabilities.sum(1) - 1).abs().max() > 1e-2):
        raise HarnessError(f"{pair.method_name} must return class probabilities: rows of numbers >= 0 that sum to 1.")


def group_means(table: Any, conditions: Sequence[Condition]) -> Any:
    """(n_images, n_conditions) to (n_images, n_groups): the mean over the severities of each corruption."""
    groups = [c.group for c in conditions]
    return np.stack([table[:, [g == name for g in groups]].mean(1) for name in dict.fromkeys(groups)], axis=1)
