"""Guided generation: images sampled under a guide, judged by a classifier that did not guide them."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, cast

from torch import Tensor

from harness import plugins
from harness.base.errors import Notice
from harness.data import open_dataset
from harness.diffusion.guided import EVERY_TIME
from harness.diffusion.guided_calls import calls_of_step
from harness.diffusion.guided_sampler import check_interval
from harness.evaluation.records.record import RunRecord
from harness.generation.requested import RequestedSamples
from harness.generation.score.extractors import is_inception
from harness.generation.spec import check_sampling
from harness.metrics.generation.scores import full_name
from harness.metrics.ranking import Sample
from harness.models.published.locate import WeightFiles
from harness.models.tiles import TiledClassifier
from harness.report.figures import draw as figures
from harness.report.names import title
from harness.report.table import Table
from harness.suites.bases.generated import comparing, scoring
from harness.suites.bases.generated.judges import Judges
from harness.suites.bases.suite import SuiteBase, with_weight_files
from harness.types import (
    NO_CLASSIFIER,
    BatchTask,
    Calls,
    Columns,
    Condition,
    Dataset,
    HarnessError,
    Metric,
    Observation,
    Pair,
    Sampling,
)

GENERATED = scoring.GENERATED
"""The only condition."""


@dataclass(frozen=True)
class GuidedGeneration(SuiteBase):
    """Base of the suites of guided generation. A subclass gives judge and extractor of its data set, and a line-up.

    samples: number of images, asked for in turn of each class. sampler, steps, eta, variance: see `Sampling`; eta is
        refused under the ancestral sampler and variance under DDIM, where they decide nothing.
    judge: classifier that says whether an image shows the class asked for; its features are compared, too.
    extractor: another classifier whose features are compared, or ``inception:weights=FILE``. Neither takes part in the
        sampling.
    reference: archive in OpenAI's layout whose images, and for Inception whose mu and sigma, generated images are
        compared with; "" takes the training images. See `harness.suites.bases.generated.judges.Judges`.
    """

    axis: ClassVar[str] = "guide"
    diffuses: ClassVar[bool] = True
    # Features of the reference are no part of the table. Another processor computes them with other last bits.
    precision: ClassVar[float] = 1e-5
    row_columns: ClassVar[Sequence[str]] = ("log_probability", *scoring.FEATURES)
    samples: int = 600
    sampler: str = "ddim"
    steps: str = "ddim25"
    eta: float = 0.0
    variance: str = "auto"
    judge: str = ""
    extractor: str = ""
    reference: str = ""

    def __post_init__(self) -> None:
        check_sampling(self.sampling, type(self).eta)
        if self.samples < 1:
            raise HarnessError(f"{self.name}: samples={self.samples} must be at least 1.")
        if self.judge == self.extractor:
            raise HarnessError(f"{self.name}: judge and extractor are both {self.judge}: name two classifiers.")
        if is_inception(self.judge):
            raise HarnessError(
                f"{self.name}: judge={self.judge} does not know the classes of {self.dataset}: it can be the extractor."
            )

    @property
    def sampling(self) -> Sampling:
        """Settings of the sampler; of eta, the ancestral one takes no notice."""
        return Sampling(self.sampler, self.steps, self.eta, self.variance)

    @property
    def judges(self) -> Judges:
        """The judge and the extractor, with the features of the reference."""
        return Judges(self.judge, self.extractor, self.dataset, self.data, self.reference, self.weight_files)

    @property
    def shown(self) -> Sequence[tuple[str, str]]:  # type: ignore[override]
        """The judge's verdict, then distances and neighbours by its features, then the main ones by the others."""
        first, second = (
            [full_name(name, network.name, network.published) for name in scoring.SHOWN] for network in self.judges.both
        )
        names = [*first, second[0], *second[-len(scoring.NEAR) :]]
        return [(name, GENERATED) for name in ("accuracy", "log_probability", *names)]

    def using(self, weight_files: WeightFiles | None) -> Any:
        """For the judge and the extractor."""
        return with_weight_files(self, weight_files)

    def conditions(self) -> Sequence[Condition]:
        """One: the generated images."""
        return [Condition(GENERATED, GENERATED, size=self.samples)]

    def open(self, condition: Condition, seed: int) -> Dataset:
        """The samples that are asked for."""
        real = open_dataset(self.dataset, "train", self.data)
        requested = RequestedSamples(real.name, self.samples, real.num_classes, real.geometry, tuple(real.classes))
        return cast(Dataset, requested)

    def facts(self) -> Mapping[str, str]:
        """Weights of judge and extractor, and the images that generated ones are compared with."""
        return self.judges.facts()

    def tally(self, methods: Sequence[Any], image: Tensor, classes: int) -> Calls:
        """Calls of denoiser, guiding classifiers and judges, with classifiers that look at the denoised image."""
        return sum((self._calls(guide, True, classes) for guide in methods), start=Calls())

    def calls_of(self, pair: Pair, image: Tensor, classes: int) -> Calls:
        """The calls of a guide with its classifier."""
        return self._calls(pair.method, getattr(_network(pair), "denoised", False), classes)

    def _calls(self, guide: Any, denoised: bool, classes: int) -> Calls:
        """Network calls per sample, as if the guide acted in every step."""
        step, steps = calls_of_step(guide, denoised, classes), self.sampling.count
        return Calls(
            denoised=steps * step.denoiser,
            differentiated=steps * step.denoiser_gradients,
            classified=steps * step.classifier,
            classifier_gradients=steps * step.classifier_gradients,
            judged=len(scoring.FEATURES),
            at_most=guide.interval != EVERY_TIME,
        )

    def check(self, methods: Sequence[Any], denoiser: Any) -> None:
        """Steps that the schedule lacks are refused, and fewer samples than the metrics need."""
        denoiser.schedule.spaced(self.steps)
        self.judges.check(self.samples)

    def misfit(self, pair: Pair, denoiser: Any) -> str:
        """See `harness.types.Guide.check`. Raises HarnessError for a judge that would guide."""
        judge, extractor = self.judges.both
        if pair.weights.sha256 == judge.sha256:
            raise HarnessError(
                f"{self.name}: {pair.model} is the judge and would guide, too: it would judge its own work. Name "
                f"another guiding classifier with --model, or another judge: {self.name}:judge=NAME."
            )
        if pair.weights.sha256 == extractor.sha256:
            warnings.warn(
                Notice(
                    f"{self.name}: {pair.model} guides, and its features are compared, too, which favours its rows. "
                    f"Name another extractor: {self.name}:extractor=NAME."
                ),
                stacklevel=2,
            )
        times = denoiser.schedule.spaced(self.steps)
        try:
            pair.method.check(pair.model, _network(pair), denoiser)
            check_interval(pair.method, times)
        except HarnessError as reason:
            return str(reason)
        return ""

    def observe(self, task: BatchTask) -> Iterator[Observation]:
        """One pair after the other, each a whole sampling: an interrupted run keeps those that are done."""
        columns = [begun if scoring.is_whole(begun) else None for begun in task.resumed]
        empty = scoring.empty(self.judges.both, len(task.labels))
        share = 1 / len(task.pairs)
        if any(columns):
            yield Observation([one or empty for one in columns], sum(map(bool, columns)) * share)
        for place, pair in enumerate(task.pairs):
            if columns[place] is None:
                columns[place] = self.columns_of(task, pair)
                missing = columns.count(None)
                yield Observation([one or empty for one in columns], 1 - missing * share, only=place)

    def columns_of(self, task: BatchTask, pair: Pair) -> Columns:
        """The judge's class, its log-probability of the class asked for, and both networks' features."""
        images = task.views.generated(pair.method, _network(pair), task.labels, self.sampling)
        return scoring.columns(self.judges.both, images, task.labels)

    def summarise(self, rows: Mapping[str, Any]) -> tuple[list[Metric], list[str]]:
        """Metrics from the rounded features of the table, beside those of the reference."""
        return scoring.summary(rows, self.judges)

    def contributions(self, rows: Mapping[str, Any], metric: str, condition: str) -> Sequence[Sample]:
        """See `SuiteBase`: for the judge's accuracy and log-probability."""
        if metric == "accuracy":
            return [Sample(rows["id"], (rows["prediction"] == rows["label"]).astype(float), 1.0)]
        if metric == "log_probability":
            return [Sample(rows["id"], rows["log_probability"].astype(float))]
        return super().contributions(rows, metric, condition)

    def row_faults(self, rows: Mapping[str, Any]) -> Any:
        """See `SuiteBase`: predictions and log-probabilities that do not go together."""
        yield from scoring.row_faults(rows, self.judges.num_classes)

    def figure(self, entries: Sequence[RunRecord]) -> Any:
        """Accuracy of the judge, and coverage, against the scale of the guide, a line per classifier."""
        drawn = {}
        for name, words in (("accuracy", "judge's accuracy (%)"), (f"coverage[{self.judge}]", "coverage (%)")):
            points = _by_scale(entries, name)
            kind = words.partition(" (")[0].replace("'s ", "-")
            drawn[kind] = figures.lines(points, "guidance scale", words, title(entries[0]))
        return drawn

    def compare(self, a: RunRecord, b: RunRecord) -> Table:
        """McNemar's test of the accuracies, and paired differences of means over samples and of Frechet distances."""
        return comparing.table(a, b, self.judges)


def _network(pair: Pair) -> Any:
    """The guiding classifier, on its device; None where a guide asks none."""
    return None if pair.model == NO_CLASSIFIER else cast(TiledClassifier, pair.classifier).network


def _by_scale(
    entries: Sequence[RunRecord], name: str
) -> dict[tuple[str, str], list[tuple[float, float, float, float]]]:
    """By classifier and guide without its scale, (scale, value, low, high) in percent; the unguided row is at 0.

    Each line begins at the unguided row of the same denoiser.
    """
    points: dict[tuple[str, str], list[tuple[float, float, float, float]]] = {}
    unguided: dict[str, tuple[float, float, float, float]] = {}
    denoisers: dict[tuple[str, str], str] = {}
    for entry in entries:
        guide = plugins.guide.configure(entry.method).plugin
        metric = entry.metric(name, GENERATED)
        if not metric:
            continue
        value, low, high = (100 * number for number in (metric.value, *metric.interval))
        denoiser = entry.denoiser.sha256 if entry.denoiser else ""
        own = plugins.guide.text_of(replace(guide, scale=1.0)) or entry.method
        if entry.model.name == NO_CLASSIFIER and own.startswith("none"):
            unguided[denoiser] = (0.0, value, low, high)
        else:
            points.setdefault((entry.model.name, own), []).append((guide.scale, value, low, high))
            denoisers[entry.model.name, own] = denoiser
    if not points:
        return {(NO_CLASSIFIER, "none"): list(unguided.values())}
    return {row: sorted([*filter(None, [unguided.get(denoisers[row])]), *values]) for row, values in points.items()}
