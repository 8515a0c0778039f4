"""The base of the suites of some of ImageNet's classes: two readings of every answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar

import torch
from torch import Tensor

from harness.data import Subset, open_dataset
from harness.metrics.accuracy import accuracy
from harness.metrics.ranking import Sample
from harness.suites.bases.confidence import kept_logits
from harness.suites.bases.covariate_shift import check_probabilities
from harness.suites.bases.published import CLEAN
from harness.suites.imagenet.base import PER_CLASS, FromImageNet, wnids
from harness.types import BatchTask, Classifier, Columns, Condition, Dataset, HarnessError, Metric, Pair

MASKED, ALL = "masked_accuracy", "accuracy_1000_way"
"""Accuracy among the classes of the data set alone, and among all 1,000."""


@dataclass(frozen=True)
class SomeClasses(FromImageNet):
    """Base of the suites of images of some classes only. A subclass names the classes: `accepted`.

    Two readings of every answer. *Masked*: the method sees the logits of these classes alone; softmax, the ensemble's
    mean and argmax are among them. *1000-way*: all logits. `reading` ranks and gives probabilities and calibration;
    the other reading gives an accuracy beside it.
    """

    reading: ClassVar[str] = MASKED

    def accepted(self) -> Mapping[str, Sequence[str]]:
        """By class folder the classes of ImageNet that are right for its images; each is right in one folder only."""
        raise NotImplementedError

    @property
    def other(self) -> str:
        """The reading that does not rank."""
        return ALL if self.reading == MASKED else MASKED

    @property
    def shown(self) -> Sequence[tuple[str, str]]:  # type: ignore[override]
        """Both accuracies, also on the clean images of the same classes, and the calibration."""
        names = self.shown_conditions()
        accuracies = [(reading, c) for reading in (self.reading, self.other) for c in names]
        calibration = [(name, names[0]) for name in ("ece", "nll")]
        return [*accuracies, (self.reading, CLEAN), (self.other, CLEAN), *calibration]

    def shown_conditions(self) -> Sequence[str]:
        """Conditions on the leaderboard."""
        return [c.name for c in self.shifted()]

    def folders(self) -> Mapping[str, int]:
        """A folder's label is that of the first of its classes."""
        return {name: self._label_of[classes[0]] for name, classes in self.accepted().items()}

    @cached_property
    def _label_of(self) -> Mapping[str, int]:
        return {wnid: label for label, wnid in enumerate(wnids())}

    @cached_property
    def _counts_as(self) -> Tensor:
        """(1000,) the label that each class counts as: the first of its folder's classes, otherwise its own."""
        labels = torch.arange(len(wnids()))
        for first, *others in self.accepted().values():
            for other in others:
                labels[self._label_of[other]] = self._label_of[first]
        return labels

    @cached_property
    def _labels(self) -> Tensor:
        """Labels of the accepted classes, rising."""
        return torch.tensor(sorted(self._label_of[wnid] for classes in self.accepted().values() for wnid in classes))

    def conditions(self) -> Sequence[Condition]:
        """With the clean images of these classes only."""
        clean_size = PER_CLASS * len(self._labels)
        return [replace(c, size=clean_size) if c.name == CLEAN else c for c in super().conditions()]

    def validation(self) -> Dataset:
        """The clean images of these classes."""
        data: Any = open_dataset(self.dataset, self.split, self.clean)
        rows = torch.isin(data.labels, self._labels).nonzero()[:, 0].tolist()
        if not rows:
            raise HarnessError(
                f"{self.name}: clean={self.clean} holds no image of its {len(self._labels)} classes. "
                "Give the folder of the whole validation set."
            )
        return Subset(replace(data, labels=self._counts_as[data.labels]), tuple(rows))

    def columns_of(self, task: BatchTask, pair: Pair) -> Columns:
        """Predicted class, its probability and that of the true class in one reading, the prediction in the other."""
        answers = {
            ALL: self._answer(task, pair, pair.classifier, torch.arange(len(self._counts_as))),
            MASKED: self._answer(task, pair, _masked(pair.classifier, self._labels), self._labels),
        }
        return {**answers[self.reading], self.other: answers[self.other]["prediction"]}

    def _answer(self, task: BatchTask, pair: Pair, classifier: Classifier, labels: Tensor) -> Columns:
        """Prediction and probabilities of a classifier whose outputs have these labels (C,)."""
        probabilities = pair.method(task.views, classifier)
        images = len(task.labels)
        check_probabilities(probabilities, pair, images)
        prediction = self._counts_as[labels[probabilities.argmax(1)]]
        summed = probabilities.new_zeros(images, len(self._counts_as))
        summed.index_add_(1, self._counts_as[labels], probabilities)
        confidence, true = (summed.gather(1, label[:, None])[:, 0] for label in (prediction, task.labels))
        columns = {"prediction": prediction, "confidence": confidence, "probability": true}
        return {**columns, **kept_logits(task, summed)}

    def contributions(self, rows: Mapping[str, Any], metric: str, condition: str) -> Sequence[Sample]:
        """See `CovariateShift`: both accuracies."""
        if metric == self.other:
            return super().contributions({**rows, "prediction": rows[self.other]}, self.reading, condition)
        return super().contributions(rows, metric, condition)

    def summarise(self, rows: Mapping[str, Any]) -> tuple[list[Metric], list[str]]:
        """Both accuracies per condition, calibration error and negative log-likelihood."""
        results, notes = super().summarise(rows)
        correct = rows[self.other] == rows["label"]
        cells_of = self.places(rows)
        others = [accuracy(correct[cells[:, 0]], name, self.other) for name, cells in cells_of.items()]
        return [*results, *others], notes


def _masked(classifier: Classifier, labels: Tensor) -> Classifier:
    """The classifier, with the logits of these classes only."""
    return lambda images: classifier(images)[:, labels]
