"""What the covariate-shift suites have in common: a prediction per image and condition, accuracies, mCE."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from torch import Tensor

from harness.metrics import calibration
from harness.metrics.accuracy import accuracy, matrix, mce, mean_accuracy, mean_error
from harness.metrics.intervals import Undefined
from harness.networks import finite
from harness.record import RunRecord
from harness.report import comparison, figures
from harness.report.table import Table
from harness.tally import tally
from harness.types import (
    Batch,
    Columns,
    Condition,
    HarnessError,
    Method,
    Metric,
    Observation,
    Pair,
    Scene,
    Stage,
    SuiteViews,
    Tally,
)

MEAN, POOLED = "mean", "all"
"""What stands for all conditions together: their mean over the same images, or all their images."""


class CovariateShift:
    """Base of the suites that ask for top-1 accuracy under one or more conditions.

    A subclass gives name, version, dataset, `conditions` and `open`, and `reference` where mCE is defined.

    size: images that were published per condition; 0 where nobody published any.
    same_images: whether the conditions that are averaged show the same source images; else these are pooled.
    reading: what the accuracies are called.
    """

    name: str
    version: int
    dataset: str
    denoiser: str | None = None
    columns: Sequence[tuple[str, str]] = (("mean_accuracy", "mean"),)
    axis: ClassVar[str] = "method"
    methods: ClassVar[Sequence[str]] = ("default", "de")
    every: ClassVar[int] = 1
    part: ClassVar[int] = 200
    diffuses: ClassVar[bool] = False
    size: ClassVar[int] = 0
    same_images: ClassVar[bool] = True
    reading: ClassVar[str] = "accuracy"

    def conditions(self) -> Sequence[Condition]:
        """The cells of the benchmark, in the order of its tables."""
        raise NotImplementedError

    def facts(self) -> Mapping[str, str]:
        """Nothing beyond the settings."""
        return {}

    def reference(self) -> Mapping[str, float] | None:
        """What mCE divides by: a classifier's error rate per condition, constants as AlexNet's are for ImageNet-C."""
        return None

    def tally(self, procedures: Sequence[Method], image: Tensor, classes: int) -> Tally:
        """Counted by running the methods on views that only count."""
        return tally(procedures, image, classes)

    def check(self, procedures: Sequence[Method], denoiser: Any) -> None:
        """Methods that cannot run say so when they are counted."""

    def prepare(
        self,
        pairs: Sequence[Pair],
        look: Callable[[Batch], SuiteViews],
        cache: Path,
        report: Callable[[Stage], None],
    ) -> Sequence[Pair]:
        """Nothing to learn."""
        return pairs

    def observe(self, scene: Scene) -> Iterator[Observation]:
        """Every pair's columns, in one step."""
        yield Observation([self.columns_of(scene, pair) for pair in scene.pairs])

    def columns_of(self, scene: Scene, pair: Pair) -> Columns:
        """Predicted class, its probability and that of the true class for every image, by one pair."""
        probabilities = pair.procedure(scene.views, pair.classifier)
        check_probabilities(probabilities, pair, len(scene.labels))
        confidence, prediction = probabilities.max(1)
        true = probabilities.gather(1, scene.labels[:, None])[:, 0]
        return {"prediction": prediction, "confidence": confidence, "probability": true}

    def summarise(self, rows: Mapping[str, Any]) -> tuple[list[Metric], list[str]]:
        """Accuracy per condition and corruption, their mean, mCE, calibration error and negative log-likelihood.

        Records of older versions lack the last two, for want of the true class's probability. Intervals:
        see `harness.metrics.accuracy` and `harness.metrics.calibration`.
        """
        correct = rows["prediction"] == rows["label"]
        places = self.places(rows)
        single = {name: where[:, 0] for name, where in places.items() if name != MEAN}
        found = [accuracy(correct[where], name, self.reading) for name, where in single.items()]
        scored, notes = [c for c in self.conditions() if c.scored], self._gaps(rows, places)
        if MEAN in places:
            table = correct[places[MEAN]]
            by_group = group_means(table, scored)
            if by_group.shape[1] < table.shape[1]:
                groups = list(dict.fromkeys(c.group for c in scored))
                found += [mean_accuracy(by_group[:, [g]], condition=group) for g, group in enumerate(groups)]
            found += [mean_accuracy(table), mean_error(table)]
            found, reasons = self._with_mce(found, 1 - by_group, scored)
            notes += reasons
        more, others = _honesty(rows, correct, places) if "probability" in rows else ([], [])
        return found + more, notes + others

    def places(self, rows: Mapping[str, Any]) -> dict[str, Any]:
        """Where in the sample table the images of every condition stand, (n_images, 1), and last those of its mean.

        The mean is "mean", (n_images, n_scored), over conditions that show the same images; "all", (n_images, 1), over
        conditions with images of their own; there is none of a single condition. Images that lack a row under one of
        the conditions, because it could not be read there, are in no mean.
        """
        everywhere = {c.name: np.flatnonzero(rows["condition"] == c.name)[:, None] for c in self.conditions()}
        found = {name: where for name, where in everywhere.items() if len(where)}
        scored = [c.name for c in self.conditions() if c.scored]
        if len(scored) > 1 and self.same_images:
            here = _complete(rows["id"], [everywhere[name][:, 0] for name in scored])
            if len(here):
                found[MEAN] = matrix(rows["id"][here], rows["condition"][here], here, scored)
        elif len(scored) > 1:
            found[POOLED] = np.concatenate([everywhere[name] for name in scored])
        return found

    def _gaps(self, rows: Mapping[str, Any], places: Mapping[str, Any]) -> list[str]:
        """What is missing from the metrics of a table with gaps, in words."""
        notes = [f"No image under {c.name}." for c in self.conditions() if c.name not in places]
        scored = [c.name for c in self.conditions() if c.scored and c.name in places]
        if self.same_images and len(scored) > 1:
            every = len(set().union(*(rows["id"][places[name][:, 0]] for name in scored)))
            if (averaged := len(places.get(MEAN, ()))) < every:
                notes.append(f"The mean is over the {averaged} of {every} images that are there under every condition.")
        return notes

    def figure(self, entries: Sequence[RunRecord]) -> Any:
        """The leaderboard as dots with intervals."""
        return figures.ranking(entries)

    def compare(self, a: RunRecord, b: RunRecord) -> Table:
        """Paired differences of accuracy."""
        return comparison.table(comparison.compare(a, b))

    def _with_mce(
        self, found: list[Metric], errors: Any, scored: Sequence[Condition]
    ) -> tuple[list[Metric], list[str]]:
        rates = self.reference()
        if rates is None:
            return found, []
        table = np.array([[rates[c.name] for c in scored]])
        try:
            return [*found, mce(errors, group_means(table, scored)[0])], []
        except Undefined as reason:
            return found, [str(reason)]


def _honesty(rows: Mapping[str, Any], correct: Any, places: Mapping[str, Any]) -> tuple[list[Metric], list[str]]:
    """Calibration error and negative log-likelihood under every condition and over all."""
    found: list[Metric] = []
    notes: dict[str, None] = {}
    for name, where in places.items():
        try:
            found.append(calibration.ece(correct[where], rows["confidence"][where], name))
            found.append(calibration.nll(rows["probability"][where], name))
        except Undefined as reason:
            notes[str(reason)] = None
    return found, list(notes)


def _complete(ids: Any, places: Sequence[Any]) -> Any:
    """Of the places where conditions have their rows those of the images that all of them have, (n,)."""
    seen = [set(ids[where]) for where in places]
    whole, here = set.intersection(*seen), np.concatenate(places)
    return here if all(len(s) == len(whole) for s in seen) else here[[name in whole for name in ids[here]]]


def check_probabilities(probabilities: Tensor, pair: Pair, images: int) -> None:
    """Raise HarnessError unless these are (images, K) class probabilities."""
    if probabilities.ndim != 2 or len(probabilities) != images:
        raise HarnessError(f"{pair.method} returned {tuple(probabilities.shape)} for {images} images, not (B, K).")
    finite(probabilities, f"{pair.model} with {pair.method}")
    if bool((probabilities < 0).any()) or bool((probabilities.sum(1) - 1).abs().max() > 1e-2):
        raise HarnessError(f"{pair.method} must return class probabilities: rows of numbers >= 0 that sum to 1.")


def group_means(table: Any, conditions: Sequence[Condition]) -> Any:
    """(n_images, n_conditions) to (n_images, n_groups): the mean over the severities of each corruption."""
    groups = [c.group for c in conditions]
    return np.stack([table[:, [g == name for g in groups]].mean(1) for name in dict.fromkeys(groups)], axis=1)
