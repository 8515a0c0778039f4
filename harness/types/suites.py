"""What a suite is, and what passes between it and the evaluation."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from harness.types.data import Batch, Columns, Condition, Dataset, Metric
from harness.types.methods import Classifier, SuiteViews

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Weights:
    """Where a network's numbers came from: what a record says about them."""

    name: str
    sha256: str
    source: str
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Pair:
    """One classifier under one method: a row of a leaderboard.

    model, method: canonical names. classifier, procedure: what they stand for; the procedure is a `Method`, or whatever
        else the suite's `axis` names. weights: the classifier's.
    """

    model: str
    method: str
    classifier: Classifier
    procedure: Any
    weights: Weights


@dataclass(frozen=True)
class Stage:
    """A step of the preparation of a run: its name, and how many of its images are done."""

    name: str
    done: int
    total: int


@dataclass(frozen=True)
class Tally:
    """Network calls per image.

    times: diffusion times of the one-step denoisings that the denoiser must know.
    denoised: one-step denoisings.
    guided: steps of diffusion-driven adaptation, each a forward and a backward pass.
    classified: different images that each classifier sees.
    together: calls of one image that share tiles: as many rows per image go through a network at a time.
    at_most: these are upper limits; what is needed shows on the way.
    """

    times: tuple[int, ...] = ()
    denoised: int = 0
    guided: int = 0
    classified: int = 0
    together: int = 1
    at_most: bool = False

    @property
    def denoiser(self) -> int:
        """All denoiser calls."""
        return self.denoised + self.guided


@dataclass(frozen=True, eq=False)
class Scene:
    """A batch under one condition, and who looks at it.

    labels: (B,), -1 for images that are of no class.
    known: per pair the columns that an interrupted run had kept, rows of zeros for images it had not begun; None where
        there is nothing.
    """

    condition: Condition
    views: SuiteViews
    labels: Tensor
    pairs: Sequence[Pair]
    known: Sequence[Columns | None]


@dataclass(frozen=True, eq=False)
class Observation:
    """What is known about a batch so far.

    columns: one set per pair, (B,) or (B, K) each; the last observation's are written to the sample table.
    done: the share of the batch's work that lies behind, in [0, 1].
    """

    columns: Sequence[Columns]
    done: float = 1.0


class Suite(Protocol):
    """A benchmark: its conditions, what is written down per sample, and what is computed from that.

    version: raised whenever the same run would give other numbers; versions never rank together.
    dataset: name of the data set; models that declare it are the suite's default line-up.
    denoiser: the diffusion model that test-time methods use unless the user names another.
    columns: (metric, condition) pairs that its leaderboard shows; the first one ranks.
    axis: what a row combines with a classifier, a key of `harness.plugins.AXES`: "method", "smoother", "detector".
    methods: the default line-up of that kind.
    every: the protocol's stride through the test set, unless the user gives another.
    part: samples that are computed and written in one piece, or a few more to fill a tile; what shards share out. A
        multiple of 4.
    diffuses: its images themselves come from the denoiser, whatever the method.
    """

    name: str
    version: int
    dataset: str
    denoiser: str | None
    columns: Sequence[tuple[str, str]]
    axis: str
    methods: Sequence[str]
    every: int
    part: int
    diffuses: bool

    def facts(self) -> Mapping[str, str]:
        """What else decides its numbers and is not in its settings, such as a hash of files it reads."""

    def conditions(self) -> Sequence[Condition]:
        """The cells of the benchmark, in the order of its tables; at least one."""

    def open(self, condition: Condition, seed: int) -> Dataset:
        """The images of one condition; `seed` is for conditions that are drawn."""

    def tally(self, procedures: Sequence[Any], image: Tensor, classes: int) -> Tally:
        """What these procedures cost per image, with everything shared that a run shares.

        image: (1, 3, H, W) in [0, 1] of the data; classes: their number.
        """

    def check(self, procedures: Sequence[Any], denoiser: Any) -> None:
        """Raises HarnessError for procedures that cannot run under these settings; before any work is done."""

    def prepare(
        self,
        pairs: Sequence[Pair],
        look: Callable[[Batch], SuiteViews],
        cache: Path,
        report: Callable[[Stage], None],
    ) -> Sequence[Pair]:
        """Learn what must be known before the first image: the pairs as `observe` will get them.

        look: views of a batch under the run's denoiser and seed. cache: folder for what is worth keeping.
        """

    def observe(self, scene: Scene) -> Iterator[Observation]:
        """Look at one batch under one condition: yields what is known so far, whole at last.

        A suite that takes long per image yields often: each observation moves the progress bar, and now and then the
        engine keeps one on disk. One that goes on from what is known yields what that amounts to first.
        """

    def summarise(self, rows: Mapping[str, Any]) -> tuple[Sequence[Metric], Sequence[str]]:
        """Metrics of one record, and notes on what could not be computed and why.

        rows: the sample table as numpy arrays: id, condition, label and the columns of `observe`, all (N, ...).
        """

    def figure(self, entries: Sequence[Any]) -> Any:
        """A matplotlib figure of one leaderboard's records."""

    def compare(self, a: Any, b: Any) -> Any:
        """A table of record b against record a, paired on the samples that both have."""
