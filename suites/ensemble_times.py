"""DiffAug-Ensemble by its times (Sastry et al., NeurIPS 2024): accuracy by the step between them and the last one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from harness.evaluation.records.record import RunRecord
from harness.metrics.accuracy import mean_accuracy
from harness.metrics.intervals import Undefined
from harness.metrics.ranking import Sample
from harness.plugins import suite
from harness.report.figures import draw as figures
from harness.report.names import title
from harness.suites.bases.corrupted import CommonCorruptions
from harness.suites.bases.covariate_shift import check_probabilities
from harness.suites.bases.suite import refuse_denoising
from harness.types import BatchTask, Calls, Columns, HarnessError, Method, Metric, Pair

COLUMN = "ensembles"
"""Column of the sample table, (N, E): class that each ensemble predicts, in the order of `EnsembleTimes.ensembles`."""


@suite("de-times", version=1, dataset="digits", denoiser="digits", every=10)
@dataclass(frozen=True)
class EnsembleTimes(CommonCorruptions):
    """Accuracy of DiffAug-Ensemble over the times 0, step, ..., t, by step and last time t, on corrupted digits.

    Sastry et al., NeurIPS 2024, Figure 12. Each image is denoised once per time, for all steps and classifiers.
    step: distances between the times of an ensemble. last: largest time.
    """

    row_columns: ClassVar[Sequence[str]] = (COLUMN,)
    keeps_logits: ClassVar[bool] = False
    diffuses: ClassVar[bool] = True
    methods = ("default",)
    step: tuple[int, ...] = (25, 50, 75)
    last: int = 600

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.step or len(set(self.step)) < len(self.step) or min(self.step) < 1 or max(self.step) > self.last:
            raise HarnessError(f"{self.name}: step={self.step} must be different numbers from 1 to last={self.last}.")

    @property
    def ensembles(self) -> Sequence[tuple[int, int]]:
        """Step and last time of each ensemble."""
        return [(step, last) for step in self.step for last in range(step, self.last + 1, step)]

    @property
    def times(self) -> Sequence[int]:
        """The times of all ensembles but 0, the image itself."""
        return sorted({last for _, last in self.ensembles})

    @property
    def shown(self) -> Sequence[tuple[str, str]]:  # type: ignore[override]
        """For each step the ensemble to about half of the largest time; and the image alone."""
        half = [(step, max(step, self.last // 2 // step * step)) for step in self.step]
        return [("mean_accuracy", name) for name in [*map(_name, half), "t=0"]]

    def tally(self, methods: Sequence[Method], image: Tensor, classes: int) -> Calls:
        """One denoising per image and time, shared by all."""
        calls, times = super().tally(methods, image, classes), tuple(self.times)
        return replace(calls, times=times, denoised=len(times), classified=1 + len(times))

    def check(self, methods: Sequence[Method], denoiser: Any) -> None:
        """Methods that denoise are refused: the suite's ensembles do it."""
        refuse_denoising(self.name, methods)

    def columns_of(self, task: BatchTask, pair: Pair) -> Columns:
        """The class of the image alone, and that of each ensemble."""
        answers = {0: pair.classifier(task.views.original()).softmax(-1)}
        for time, image in zip(self.times, task.views.denoised(self.times), strict=True):
            answers[time] = pair.classifier(image).softmax(-1)
        check_probabilities(torch.stack([*answers.values()]).mean(0), pair, len(task.labels))
        return {"prediction": answers[0].argmax(1), COLUMN: _predictions(answers, self.step, self.last)}

    def summarise(self, rows: Mapping[str, Any]) -> tuple[list[Metric], list[str]]:
        """Mean accuracy over the corruptions, of the image alone and of each ensemble."""
        notes = self._gaps(rows, self.places(rows))
        return [mean_accuracy(correct, condition=name) for name, correct in self._correct(rows)], notes

    def contributions(self, rows: Mapping[str, Any], metric: str, condition: str) -> Sequence[Sample]:
        """See `SuiteBase`: for every accuracy."""
        by_name = dict(self._correct(rows))
        if condition not in by_name:
            raise Undefined(f"{metric} under {condition} is no sum of means over images")
        places = self.places(rows)
        return [Sample(rows["id"][places[self.overall(places)][:, 0]], by_name[condition].mean(axis=1), 1.0)]

    def _correct(self, rows: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
        """By name of an ensemble, the correct answers (n_images, n_corruptions), bool."""
        places = self.places(rows)
        cells = places[self.overall(places)]
        predictions = np.concatenate([rows["prediction"][:, None], rows[COLUMN]], axis=1)
        for k, name in enumerate(["t=0", *map(_name, self.ensembles)]):
            yield name, (predictions[:, k] == rows["label"])[cells]

    def figure(self, entries: Sequence[RunRecord]) -> Any:
        """Accuracy against the last time, a line per classifier, a panel per step."""
        names = {step: {0: "t=0"} | {t: _name((s, t)) for s, t in self.ensembles if s == step} for step in self.step}
        lines = {(e.model.name, f"step {step}"): _points(e, names[step]) for e in entries for step in self.step}
        return figures.lines(lines, "last diffusion time t", "mean accuracy (%)", title(entries[0]))


def _name(ensemble: tuple[int, int]) -> str:
    """Name of the ensemble of a step and a last time, as a metric's condition."""
    step, last = ensemble
    return f"step={step} t={last}"


def _predictions(answers: Mapping[int, Tensor], steps: Sequence[int], last: int) -> Tensor:
    """Classes (B, E) of the ensembles' mean probabilities. answers: probabilities (B, K) by time, 0 among them."""
    predictions = []
    for step in steps:
        total = answers[0]
        for count, time in enumerate(range(step, last + 1, step), 2):
            total = total + answers[time]
            predictions.append((total / count).argmax(1))
    return torch.stack(predictions, 1).int()


def _points(entry: RunRecord, names: Mapping[int, str]) -> list[tuple[float, ...]]:
    """Last time, accuracy in percent and its interval. names: conditions by last time."""
    metrics = [(time, entry.metric("mean_accuracy", name)) for time, name in names.items()]
    return [(time, *(100 * value for value in (m.value, *m.interval))) for time, m in metrics if m]
