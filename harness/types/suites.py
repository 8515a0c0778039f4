"""The interface of suites, and the objects that pass between a suite and the evaluation."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from harness.types.data import Batch, Columns, Condition, Dataset, Metric
from harness.types.methods import Classifier, SuiteViews
from harness.types.weights import Weights

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, eq=False)
class Pair:
    """One classifier under one method: a row of a leaderboard.

    model: canonical name of the classifier.
    method_name: canonical name of the method.
    classifier: images (B, 3, H, W) in [0, 1] to logits (B, K).
    method: a `Method`, or another plugin of the suite's `axis`.
    weights: provenance of the classifier's weights.
    unsuited: the reason why the method cannot work with the classifier, which a suite's `prepare` finds; else "".
    """

    model: str
    method_name: str
    classifier: Classifier
    method: Any
    weights: Weights
    unsuited: str = ""


@dataclass(frozen=True)
class Stage:
    """Progress of one step of a run's preparation.

    name: of the step. done, total: images that are done, and that there are; or other things, named by `unit`.
    """

    name: str
    done: int
    total: int
    unit: str = "images"


@dataclass(frozen=True)
class Calls:
    """Network calls per image.

    times: diffusion times of the one-step denoisings that the denoiser must know.
    denoised: one-step denoisings. differentiated: backward passes of the denoiser through these.
    guided: steps of diffusion-driven adaptation, each a forward and a backward pass.
    classified: different images that each classifier sees. classifier_gradients: backward passes of each classifier.
    judged: images that networks see which neither guide nor are measured: judges and extractors.
    together: rows per image in one network call: calls of one image that share a tile.
    at_most: these are upper limits; the run may need less.
    """

    times: tuple[int, ...] = ()
    denoised: int = 0
    guided: int = 0
    classified: int = 0
    together: int = 1
    at_most: bool = False
    differentiated: int = 0
    classifier_gradients: int = 0
    judged: int = 0

    @property
    def denoiser(self) -> int:
        """All denoiser calls."""
        return self.denoised + self.guided

    @property
    def denoiser_gradients(self) -> int:
        """All backward passes of the denoiser."""
        return self.differentiated + self.guided

    def __add__(self, other: Calls) -> Calls:
        """The calls of both, which share none."""
        return Calls(
            tuple(sorted({*self.times, *other.times})),
            self.denoised + other.denoised,
            self.guided + other.guided,
            self.classified + other.classified,
            max(self.together, other.together),
            self.at_most or other.at_most,
            self.differentiated + other.differentiated,
            self.classifier_gradients + other.classifier_gradients,
            self.judged + other.judged,
        )


@dataclass(frozen=True, eq=False)
class BatchTask:
    """A batch under one condition, and the pairs that it is shown to.

    condition: the cell of the suite.
    views: the images of the batch, (B, 3, H, W) in [0, 1], and what the denoiser makes of them.
    labels: (B,) int64, -1 for images of no class.
    pairs: classifiers under methods, in the order of the observation's columns.
    resumed: for each pair, the columns that an interrupted run stored, with rows of zeros for images that it had not
        begun; None if it stored nothing.
    keep_logits: the columns get "logits", (B, K) float16; asked only of suites that say `keeps_logits`.
    ids: (B,) of the samples, which key whatever a suite draws itself.
    keep_images: the columns get "image", (B, 3 H W) float32; asked only of suites that say `keeps_images`.
    """

    condition: Condition
    views: SuiteViews
    labels: Tensor
    pairs: Sequence[Pair]
    resumed: Sequence[Columns | None]
    keep_logits: bool = False
    ids: Sequence[str] = ()
    keep_images: bool = False


@dataclass(frozen=True, eq=False)
class Observation:
    """Results for a batch so far.

    columns: one set per pair, (B,) or (B, K) each. The sample table gets those of the last observation.
    done: share of the batch's work that is done, in [0, 1]; 1 for the last observation.
    only: index of the pair that all work since the last observation was for; None if it was for several. Records of
        suites whose pairs share nothing then state what each pair cost by itself.
    """

    columns: Sequence[Columns]
    done: float = 1.0
    only: int | None = None


class Suite(Protocol):
    """A benchmark: its conditions, the columns of its sample table, and the metrics computed from these.

    `harness.suites.bases.suite.SuiteBase` has defaults for most members.

    name: unique among suites; part of the key of every record.
    version: raised whenever the same run would give other numbers; versions never rank together.
    dataset: name of the data set; models that declare it are the suite's default line-up.
    denoiser: the diffusion model that test-time methods use unless the user names another.
    shown: (metric, condition) pairs on its leaderboard; the first one ranks. Older suites may call it `columns`.
    axis: kind of plugin that is combined with classifiers, a key of `harness.plugins.AXES`: "method", "smoother",
        "detector", "attack", "guide".
    methods: the default line-up of that kind.
    models: the default line-up of classifiers; older suites have none, and it is then that of the data set.
    every: the protocol's stride through the test set, unless the user gives another.
    part: samples that are computed and written together, or a few more to fill a tile; the unit that shards divide. A
        multiple of 4.
    diffuses: whether the denoiser makes its images, whatever the method.
    differentiates: its numbers are gradients, whatever the method, and so depend on the tile of these.
    """

    name: str
    version: int
    dataset: str
    denoiser: str | None
    shown: Sequence[tuple[str, str]]
    axis: str
    methods: Sequence[str]
    models: Sequence[str]
    every: int
    part: int
    diffuses: bool
    differentiates: bool

    def facts(self) -> Mapping[str, str]:
        """Facts beyond its settings that decide its numbers, by name, such as the hash of a file that it reads."""

    def conditions(self) -> Sequence[Condition]:
        """The cells of the benchmark, in the order of its tables; at least one."""

    def open(self, condition: Condition, seed: int) -> Dataset:
        """The images of one condition. seed: of conditions that are drawn at random."""

    def tally(self, methods: Sequence[Any], image: Tensor, classes: int) -> Calls:
        """Network calls of these methods per image, with everything shared that a run shares.

        methods: plugins of the suite's axis. image: (1, 3, H, W) in [0, 1] of the data. classes: number of classes K.
        Where calls depend on the classifier, too, these are upper limits, and `SuiteBase.calls_of` knows better.
        """

    def check(self, methods: Sequence[Any], denoiser: Any) -> None:
        """Raise HarnessError, before any work is done, for methods that cannot run under these settings.

        denoiser: the run's, None where no method needs one.
        """

    def misfit(self, pair: Pair, denoiser: Any) -> str:
        """The reason why a classifier and a method that suit the suite do not suit each other; "" if they do.

        Raises HarnessError for a pair that must stop the run. denoiser: the run's.
        """

    def prepare(
        self,
        pairs: Sequence[Pair],
        look: Callable[[Batch], SuiteViews],
        cache: Path,
        report: Callable[[Stage], None],
    ) -> Sequence[Pair]:
        """The pairs as `observe` will get them, after all learning that must come before the first image.

        The run leaves out those that come back with `Pair.unsuited`.

        look: views of a batch under the run's denoiser and seed. cache: folder for results that later runs reuse.
        report: called as the preparation proceeds.
        """

    def observe(self, task: BatchTask) -> Iterator[Observation]:
        """Evaluate one batch under one condition. Yields partial results, the last one complete.

        A suite that takes long per image yields often: each observation moves the progress bar, and now and then the
        engine stores one on disk. A resumed suite first yields the state it resumed from.
        """

    def summarise(self, rows: Mapping[str, Any]) -> tuple[Sequence[Metric], Sequence[str]]:
        """Metrics of one record, and notes that give the reason for metrics that could not be computed.

        rows: the sample table as numpy arrays: id, condition, label and the columns of `observe`, all (N, ...).
        """

    def figure(self, entries: Sequence[Any]) -> Any:
        """A matplotlib figure of one leaderboard's records, sorted from the best on; or several, by name."""

    def compare(self, a: Any, b: Any) -> Any:
        """A table of record b against record a, paired on the samples that both have."""
