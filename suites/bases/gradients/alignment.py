"""Base of the suites of gradient alignment: do gradients of log p(y) along the diffusion point towards the class?"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from torch import Tensor, nn

from harness import plugins
from harness.data import open_dataset
from harness.diffusion.denoiser import Denoiser
from harness.diffusion.lookup import conditioned, find_denoiser
from harness.evaluation.records.record import RunRecord
from harness.evaluation.views.diffused_gradients import KINDS
from harness.metrics.intervals import Undefined
from harness.metrics.ranking import Sample
from harness.models import matching
from harness.models.lookup import find_classifier
from harness.models.published.locate import WeightFiles
from harness.models.tiles import TiledClassifier, Tiles, place
from harness.report.table import Table
from harness.suites.bases.gradients.batch_targets import RunTargets
from harness.suites.bases.gradients.measures import MEANS, MEASURES, VANISHING, mean_of, selected
from harness.suites.bases.gradients.randomised import randomised
from harness.suites.bases.gradients.shown import compared, drawn
from harness.suites.bases.gradients.targets import (
    DenoiserTarget,
    ScoreTarget,
    check_target,
    class_means,
    gaussian_target,
)
from harness.suites.bases.suite import SuiteBase, with_weight_files
from harness.types import (
    Batch,
    BatchTask,
    Calls,
    Condition,
    Dataset,
    HarnessError,
    Metric,
    Observation,
    Pair,
    Stage,
    SuiteViews,
    Weights,
)

GAUSSIAN, DENOISER = "gaussian", "denoiser:"
"""Values of the setting `target`: Gaussian classes, or the start of a conditional denoiser's name."""


@dataclass(frozen=True, eq=False)
class TargetsAndControl:
    """Takes the place of a pair's method: the run's targets, and the classifier's control with random weights."""

    targets: RunTargets
    control: TiledClassifier


class Alignment(SuiteBase):
    """Base of the suites that measure gradients of log p(y) at diffused images, one condition per kind and time.

    A subclass gives the settings below. A classifier is never its own judge: its row is left out.

    times: diffusion times. kinds: see `harness.evaluation.views.diffused_gradients`.
    target: "gaussian" for Gaussian classes of the training images, or denoiser:NAME.
    judge: another classifier. step: length of the step that it judges, in the model's space, [-1, 1].
    control: seed of the random weights.
    """

    diffuses: ClassVar[bool] = True
    differentiates: ClassVar[bool] = True
    methods: ClassVar[Sequence[str]] = ("default",)
    same_images: ClassVar[bool] = True
    row_columns: ClassVar[Sequence[str]] = ("exists", "norm", *MEASURES)
    times: tuple[int, ...]
    kinds: tuple[str, ...]
    target: str
    judge: str
    step: float
    control: int

    def __post_init__(self) -> None:
        times, kinds = self.times, self.kinds
        if not times or len(set(times)) < len(times) or min(times) < 0:
            raise HarnessError(f"{self.name}: times={times} must be distinct and not negative.")
        if not kinds or len(set(kinds)) < len(kinds) or not set(kinds) <= set(KINDS):
            raise HarnessError(f"{self.name}: kinds={','.join(kinds)} must be some of {', '.join(KINDS)}.")
        if self.target != GAUSSIAN and self.target.removeprefix(DENOISER) in (self.target, ""):
            raise HarnessError(f"{self.name}: target={self.target} must be {GAUSSIAN} or {DENOISER}NAME.")
        if not 0 < self.step < float("inf"):
            raise HarnessError(f"{self.name}: step={self.step:g} must be a positive number, such as 1.")

    @property
    def shown(self) -> Sequence[tuple[str, str]]:  # type: ignore[override]
        """Both targets for the last kind at the first time: by default the total gradient at t = 300."""
        condition = f"{self.kinds[-1]}/t={self.times[0]}"
        return [("cosine_score", condition), ("cosine_mean", condition)]

    def using(self, weight_files: WeightFiles | None) -> Any:
        """For the judge, and for the denoiser of the target."""
        return with_weight_files(self, weight_files)

    def conditions(self) -> Sequence[Condition]:
        """One per kind and time."""
        return [Condition(f"{kind}/t={time}", kind) for kind in self.kinds for time in self.times]

    def open(self, condition: Condition, seed: int) -> Dataset:
        """The test images: diffused ones are views."""
        return self.test_images()

    def facts(self) -> Mapping[str, str]:
        """Hashes of the judge's weights, of the training images behind the targets, and of the target's."""
        facts = {"judge": self._judge[1].sha256, "training": self._training.sha256}
        return {**facts, "target": self._denoiser[1].sha256} if self._denoiser else facts

    def tally(self, methods: Sequence[Any], image: Tensor, classes: int) -> Calls:
        """At most one denoising, one with its derivative for the classifier and one for its control.

        Each of these is called and differentiated once for `partial` and once for `raw`, of which `total` is the sum.
        The judge sees the denoised image, and a step from it along either gradient.
        """
        ways = 2 if "total" in self.kinds else 1
        return Calls(
            self.times, denoised=1, guided=2, classified=2 * ways, at_most=True, classifier_gradients=2 * ways, judged=3
        )  # fmt: skip

    def check(self, methods: Sequence[Any], denoiser: Any) -> None:
        """The classifier alone is differentiated; the target belongs to the run's denoiser and data."""
        if any(plugins.method.text_of(method) != "default" for method in methods):
            raise HarnessError(f"{self.name} differentiates the classifier itself; leave out --tta.")
        if self._denoiser:
            name = self.target.removeprefix(DENOISER)
            check_target(name, self._denoiser[0], denoiser, self._training.num_classes)

    def prepare(
        self,
        pairs: Sequence[Pair],
        look: Callable[[Batch], SuiteViews],
        cache: Path,
        report: Callable[[Stage], None],
    ) -> Sequence[Pair]:
        """Targets from the training images, and the control of each classifier."""
        classifier = pairs[0].classifier
        assert isinstance(classifier, TiledClassifier)
        targets = self._run_targets(classifier.tiles, report)
        return [self._with_control(pair, targets) for pair in pairs]

    def _with_control(self, pair: Pair, targets: RunTargets) -> Pair:
        assert isinstance(pair.classifier, TiledClassifier)
        if pair.weights.sha256 == self._judge[1].sha256:
            remedy = f"Name another judge: --suite {self.name}:judge=NAME"
            return replace(pair, unsuited=f"{pair.model} would judge its own gradients. {remedy}")
        network = randomised(pair.classifier.network, self.control)
        control = TiledClassifier(network, pair.classifier.tiles, pair.classifier.gradient_tiles)
        return replace(pair, method=TargetsAndControl(targets, control))

    def _run_targets(self, tiles: Tiles, report: Callable[[Stage], None]) -> RunTargets:
        training = self._training
        means, classes = class_means(training, report), training.num_classes
        target: ScoreTarget
        if self._denoiser:
            place(self._denoiser[0].network, tiles.device)
            target = DenoiserTarget(self._denoiser[0], Tiles(tiles.size, tiles.device, cache=tiles.cache))
        else:
            target = gaussian_target(training)
        network = matching.match({"train": training}, {self.judge: self._judge}).networks[self.judge]
        judge = TiledClassifier(network, tiles)
        if (outputs := judge(training.read([0]).images).shape[1]) != classes:
            raise HarnessError(f"judge={self.judge} has {outputs} classes, and the data have {classes}. Name another.")
        return RunTargets(target, means, judge, self.step)

    def observe(self, task: BatchTask) -> Iterator[Observation]:
        """Columns of all pairs, which share the diffused and denoised images and the targets."""
        kind, _, time = task.condition.name.partition("/t=")
        views = task.views.diffused(int(time))
        targets = task.pairs[0].method.targets.at(views, task.labels, task.ids)
        yield Observation(
            [targets.columns(pair.classifier, pair.method.control, kind) for pair in task.pairs]  # type: ignore[arg-type]
        )

    def summarise(self, rows: Mapping[str, Any]) -> tuple[list[Metric], list[str]]:
        """Means over images with Student's t intervals; the share of vanishing gradients with an exact one."""
        results: list[Metric] = []
        notes: dict[str, None] = {}
        for condition in self.conditions():
            cells = rows["condition"] == condition.name
            if not rows["exists"][cells].all():
                notes[f"No {condition.group} gradient: this classifier takes no denoised image."] = None
                continue
            for name in MEANS:
                try:
                    results.append(mean_of(rows, cells, name, condition.name))
                except Undefined as reason:
                    notes[f"{condition.name}: {reason}"] = None
        return results, list(notes)

    def contributions(self, rows: Mapping[str, Any], metric: str, condition: str) -> Sequence[Sample]:
        """See `SuiteBase`: for every mean. Cosines have no exact test: it would go by their whole range."""
        cells = rows["condition"] == condition
        if metric not in MEANS or not rows["exists"][cells].all():
            return super().contributions(rows, metric, condition)
        values, cells = selected(rows, cells, metric)
        if not cells.any():
            return super().contributions(rows, metric, condition)
        return [Sample(rows["id"][cells], values[cells].astype(float), 1.0 if metric == VANISHING else np.inf)]

    def figure(self, entries: Sequence[RunRecord]) -> Mapping[str, Any]:
        """Cosine by time for either target."""
        return drawn(entries, self.kinds, self.times)

    def compare(self, a: RunRecord, b: RunRecord) -> Table:
        """Paired differences."""
        return compared(a, b, [condition.name for condition in self.conditions()])

    @cached_property
    def _training(self) -> Dataset:
        return open_dataset(self.dataset, "train", self.data)

    @cached_property
    def _judge(self) -> tuple[nn.Module, Weights]:
        return find_classifier(self.judge, self.weight_files)

    @cached_property
    def _denoiser(self) -> tuple[Denoiser, Weights] | None:
        """The target's, with the classes in the order of the data; None for Gaussian classes."""
        if self.target == GAUSSIAN:
            return None
        name = self.target.removeprefix(DENOISER)
        denoiser, weights = find_denoiser(name, self.weight_files)
        if denoiser.conditional:
            denoiser = conditioned(denoiser, name, weights, self._training, f"target={self.target}")
        return denoiser, weights
