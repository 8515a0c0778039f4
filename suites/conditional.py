"""Conditional DiffAug (Sastry et al., NeurIPS 2024): one reverse step that is told the class, by lambda."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from harness.evaluation.records.record import RunRecord
from harness.metrics.accuracy import accuracy
from harness.metrics.intervals import Undefined
from harness.metrics.ranking import Sample
from harness.plugins import suite
from harness.report.figures import draw as figures
from harness.report.names import title
from harness.suites.bases.covariate_shift import check_probabilities
from harness.suites.bases.suite import refuse_denoising
from harness.suites.diffusion_time import ByDiffusionTime
from harness.types import BatchTask, Calls, Columns, HarnessError, Method, Metric, Pair

COLUMN = "mixed"
"""Column of the sample table, (N, L): the predicted class at each lambda."""

TOLD = "The reverse step is told the true class: accuracy says how much of it the denoised images show."


@suite("conditional-diffaug", version=1, dataset="digits", denoiser="digits-conditional")
@dataclass(frozen=True)
class ConditionalDiffAug(ByDiffusionTime):
    """Accuracy on test digits diffused to time t and denoised with the class y, by time and lambda.

    The noise is (1 - lambda) eps(x_t, t) + lambda eps(x_t, t, y). Sastry et al., NeurIPS 2024, Figure 15. One network
    predicts both: it was trained with label dropout, and its label for none gives eps(x_t, t).
    """

    row_columns: ClassVar[Sequence[str]] = (COLUMN,)
    keeps_logits: ClassVar[bool] = False
    tells_class: ClassVar[bool] = True
    methods = ("default",)
    times: tuple[int, ...] = (400, 500, 600, 700)
    lambdas: tuple[float, ...] = (0.0, 0.25, 0.5, 0.75, 1.0)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.lambdas or len(set(self.lambdas)) < len(self.lambdas) or min(self.lambdas) < 0:
            raise HarnessError(f"{self.name}: lambdas={self.lambdas} must be distinct and not negative.")

    @property
    def shown(self) -> Sequence[tuple[str, str]]:  # type: ignore[override]
        """Accuracy at the first and the last lambda, at each time."""
        ends = dict.fromkeys((self.lambdas[0], self.lambdas[-1]))
        return [("accuracy", _name(time, value)) for time in self.times for value in ends]

    def tally(self, methods: Sequence[Method], image: torch.Tensor, classes: int) -> Calls:
        """One prediction with and one without the class per image, for all lambdas."""
        return Calls(self.times, denoised=2, classified=len(self.lambdas) * len(methods))

    def check(self, methods: Sequence[Method], denoiser: Any) -> None:
        """Methods that denoise are refused, and diffusion models that take no class or always need one."""
        refuse_denoising(self.name, methods)
        if denoiser is not None and not (denoiser.conditional and denoiser.unconditional):
            raise HarnessError(
                f"{self.name} needs a class-conditional diffusion model that also predicts without a class. Train one: "
                "harness train --architecture unet-conditional --label-dropout 0.1, and give it with --denoiser."
            )

    def columns_of(self, task: BatchTask, pair: Pair) -> Columns:
        """The predicted class at each lambda."""
        time = self.times[self.conditions().index(task.condition)]
        predictions = []
        for image in task.views.conditioned(time, task.labels, self.lambdas):
            probabilities = pair.classifier(image).softmax(-1)
            check_probabilities(probabilities, pair, len(task.labels))
            predictions.append(probabilities.argmax(1))
        return {"prediction": predictions[0], COLUMN: torch.stack(predictions, 1).int()}

    def summarise(self, rows: Mapping[str, Any]) -> tuple[list[Metric], list[str]]:
        """Accuracy by time and lambda."""
        return [accuracy(correct, name) for name, _, correct in self._correct(rows)], [TOLD]

    def contributions(self, rows: Mapping[str, Any], metric: str, condition: str) -> Sequence[Sample]:
        """See `SuiteBase`: for every accuracy."""
        for name, images, correct in self._correct(rows):
            if name == condition:
                return [Sample(images, correct.astype(float), 1.0)]
        raise Undefined(f"{metric} under {condition} is no sum of means over images")

    def _correct(self, rows: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any]]:
        """By time and lambda the metric's condition, the images' ids (n,) and the correct answers (n,) bool."""
        for time, condition in zip(self.times, self.conditions(), strict=True):
            cells = rows["condition"] == condition.name
            for k, value in enumerate(self.lambdas):
                yield _name(time, value), rows["id"][cells], (rows[COLUMN][:, k] == rows["label"])[cells]

    def figure(self, entries: Sequence[RunRecord]) -> Any:
        """Accuracy against lambda, a line per classifier, a panel per time."""
        lines = {}
        for entry in entries:
            for time in self.times:
                metrics = [(value, entry.metric("accuracy", _name(time, value))) for value in sorted(self.lambdas)]
                points = [(value, m.value, *m.interval) for value, m in metrics if m]
                lines[entry.model.name, f"t={time}"] = [(x, *(100 * v for v in values)) for x, *values in points]
        return figures.lines(lines, "lambda of the class", "accuracy (%)", title(entries[0]))


def _name(time: int, value: float) -> str:
    """Name of a time and a lambda, as a metric's condition."""
    return f"t={time} lambda={value:g}"
