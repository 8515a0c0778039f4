"""How sure a classifier is of one-step denoised images, by diffusion time: an analysis of the DiffAug paper."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from harness.data import open_dataset
from harness.metrics.accuracy import accuracy, mean_value
from harness.metrics.intervals import Undefined
from harness.plugins import suite
from harness.record import RunRecord
from harness.report import figures, leaderboard
from harness.suites.shift import CovariateShift, check_probabilities
from harness.types import (
    Columns,
    Condition,
    Dataset,
    HarnessError,
    Method,
    Metric,
    Pair,
    Scene,
    Tally,
)

LARGEST = math.log(10)
"""Entropy in nats of ten equally probable digits."""


@suite("entropy-vs-t")
@dataclass(frozen=True)
class EntropyVersusTime(CovariateShift):
    """Mean prediction entropy on test digits diffused to time t and denoised in one step, by t; 0 is the image itself.

    Sastry et al., NeurIPS 2024. Entropies are in nats, at most the logarithm of the number of classes.
    """

    name: ClassVar[str] = "entropy-vs-t"
    version: ClassVar[int] = 1
    dataset: ClassVar[str] = "digits"
    denoiser: ClassVar[str | None] = "digits"
    methods: ClassVar[Sequence[str]] = ("default",)
    diffuses: ClassVar[bool] = True
    times: tuple[int, ...] = tuple(range(0, 1000, 50))

    def __post_init__(self) -> None:
        if not self.times or len(set(self.times)) < len(self.times) or min(self.times) < 0:
            raise HarnessError(f"{self.name}: times={self.times} must be distinct and not negative.")

    @property
    def columns(self) -> Sequence[tuple[str, str]]:  # type: ignore[override]
        """Entropy and accuracy at the middle time, the first and the last."""
        shown = [f"t={self.times[k]}" for k in dict.fromkeys((len(self.times) // 2, 0, len(self.times) - 1))]
        return [(name, condition) for name in ("mean_entropy", "accuracy") for condition in shown]

    def conditions(self) -> Sequence[Condition]:
        """One per time."""
        return [Condition(f"t={time}", f"t={time}") for time in self.times]

    def open(self, condition: Condition, seed: int) -> Dataset:
        """The test split, whatever the time: the denoising is a view."""
        return open_dataset(self.dataset, "test")

    def tally(self, procedures: Sequence[Method], image: Tensor, classes: int) -> Tally:
        """One denoising per image and time, shared by all."""
        needs = super().tally(procedures, image, classes)
        return replace(needs, times=tuple(t for t in self.times if t), denoised=1)

    def check(self, procedures: Sequence[Method], denoiser: Any) -> None:
        """Methods that denoise would denoise twice."""
        if any(super(EntropyVersusTime, self).tally([p], torch.zeros(1, 3, 32, 32), 10).denoiser for p in procedures):
            raise HarnessError(f"{self.name} looks at one-step denoisings itself; leave out --tta.")

    def columns_of(self, scene: Scene, pair: Pair) -> Columns:
        """Class, its probability and the entropy, on the denoised images."""
        (shown,) = scene.views.denoised([self.times[self.conditions().index(scene.condition)]])
        probabilities = pair.classifier(shown).softmax(-1)
        check_probabilities(probabilities, pair, len(scene.labels))
        confidence, prediction = probabilities.max(1)
        entropy = torch.special.entr(probabilities).sum(1)
        return {"prediction": prediction, "confidence": confidence, "entropy": entropy}

    def summarise(self, rows: Mapping[str, Any]) -> tuple[list[Metric], list[str]]:
        """Mean entropy and accuracy by time."""
        found: list[Metric] = []
        notes: dict[str, None] = {}
        for c in self.conditions():
            here = rows["condition"] == c.name
            try:
                found.append(mean_value(rows["entropy"][here], "mean_entropy", c.name, "nats", LARGEST))
            except Undefined as reason:
                notes[str(reason)] = None
            found.append(accuracy(rows["prediction"][here] == rows["label"][here], c.name))
        return found, list(notes)

    def figure(self, entries: Sequence[RunRecord]) -> Any:
        """Entropy against time, a line per classifier."""
        lines = {}
        for entry, method in zip(entries, leaderboard.variants(entries), strict=True):
            points = [(time, entry.metric("mean_entropy", f"t={time}")) for time in sorted(self.times)]
            lines[f"{entry.model.name}, {method}"] = [(t, m.value, *m.interval) for t, m in points if m]
        return figures.lines(lines, "diffusion time t", "mean prediction entropy (nats)")
