"""Accuracy on diffused images, by diffusion time: what a classifier is worth as a guide of the diffusion process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from harness.data import open_dataset
from harness.networks import TiledClassifier
from harness.plugins import suite
from harness.record import RunRecord
from harness.report import figures, leaderboard
from harness.suites.shift import CovariateShift, check_probabilities
from harness.types import (
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
    Scene,
    Tally,
)
from harness.views import Diffused

UNIFORM = "uniform"
COST = "Denoiser calls: at most; only `denoised` and classifiers that were trained with denoised images make them."


@suite("noisy-accuracy")
@dataclass(frozen=True)
class NoisyAccuracy(CovariateShift):
    """Accuracy on test digits diffused to a uniformly random time, and to each of several times.

    Sastry et al., NeurIPS 2024, Table 4. A classifier that knows the time sees x_t, with its one-step denoising where
    it was trained so; a plain one sees x_t as a clipped image (`default`) or the denoised image alone (`denoised`).
    """

    name: ClassVar[str] = "noisy-accuracy"
    version: ClassVar[int] = 1
    dataset: ClassVar[str] = "digits"
    denoiser: ClassVar[str | None] = "digits"
    methods: ClassVar[Sequence[str]] = ("default", "denoised")
    diffuses: ClassVar[bool] = True
    times: tuple[int, ...] = tuple(range(0, 1000, 100))

    def __post_init__(self) -> None:
        if not self.times or len(set(self.times)) < len(self.times) or min(self.times) < 0:
            raise HarnessError(f"{self.name}: times={self.times} must be distinct and not negative.")

    @property
    def columns(self) -> Sequence[tuple[str, str]]:  # type: ignore[override]
        """Accuracy at a random time, the mean over the times, and the accuracy at the first and the middle one."""
        shown = dict.fromkeys(f"t={self.times[k]}" for k in (0, len(self.times) // 2))
        return [("accuracy", UNIFORM), ("mean_accuracy", "mean"), *(("accuracy", name) for name in shown)]

    def conditions(self) -> Sequence[Condition]:
        """A random time for each image, which enters no mean, and then one condition per time."""
        return [Condition(UNIFORM, UNIFORM, scored=False), *(Condition(f"t={t}", f"t={t}") for t in self.times)]

    def open(self, condition: Condition, seed: int) -> Dataset:
        """The test split, whatever the time: the noise is a view."""
        return open_dataset(self.dataset, "test")

    def tally(self, procedures: Sequence[Method], image: Tensor, classes: int) -> Tally:
        """At most one denoising per image: for `denoised`, and for classifiers that look at the denoised image."""
        return Tally(self.times, denoised=1, classified=len(procedures), at_most=True)

    def check(self, procedures: Sequence[Method], denoiser: Any) -> None:
        """Methods that diffuse images themselves are refused by these views."""
        image = torch.zeros(1, 3, 32, 32)
        for procedure in procedures:
            procedure(Diffused(image, torch.tensor([0]), lambda: image), lambda images: torch.zeros(len(images), 2))

    def columns_of(self, scene: Scene, pair: Pair) -> Columns:
        """Predicted class, its probability and the time of every image."""
        times = {f"t={time}": time for time in self.times}
        shown = scene.views.diffused(times.get(scene.condition.name))
        probabilities = pair.procedure(shown, _informed(pair.classifier, shown))
        check_probabilities(probabilities, pair, len(scene.labels))
        confidence, prediction = probabilities.max(1)
        return {"prediction": prediction, "confidence": confidence, "time": shown.times}

    def summarise(self, rows: Mapping[str, Any]) -> tuple[list[Metric], list[str]]:
        """Accuracy at a random time and at each, and the mean over these."""
        found, notes = super().summarise(rows)
        return found, [*notes, COST]

    def figure(self, entries: Sequence[RunRecord]) -> Any:
        """Accuracy against time, a line per classifier and method."""
        lines = {}
        for entry, method in zip(entries, leaderboard.variants(entries), strict=True):
            points = [(time, entry.metric("accuracy", f"t={time}")) for time in sorted(self.times)]
            lines[f"{entry.model.name}, {method}"] = [
                (time, *(100 * value for value in (m.value, *m.interval))) for time, m in points if m
            ]
        return figures.lines(lines, "diffusion time t", "accuracy (%)")


def _informed(classifier: Classifier, shown: DiffusedViews) -> Classifier:
    """The classifier as methods see it: one that knows times is told them where a method shows the diffused images."""
    assert isinstance(classifier, TiledClassifier)
    network, tiles = classifier.network, classifier.tiles
    if not isinstance(network, NoisyClassifier):
        return classifier

    def classify(images: Tensor) -> Tensor:
        if images is not shown.original():
            return classifier(images)
        if network.denoised:
            return tiles(network.noisy, shown.noisy, shown.restored(), shown.times)
        return tiles(lambda x_t, t: network.noisy(x_t, None, t), shown.noisy, shown.times)

    return classify
