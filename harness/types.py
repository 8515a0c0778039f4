"""The words of the harness: what flows between readers, networks, methods, suites and records.

Everything here is small, immutable and free of third-party imports other than torch, so that a plugin can import it
without paying for anything.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from harness.errors import BadImage as BadImage
from harness.errors import HarnessError as HarnessError

if TYPE_CHECKING:
    from PIL.Image import Image


@dataclass(frozen=True)
class Batch:
    """Images that travel together.

    ids: one stable name per *source* image; the same image under two corruptions has the same id.
    images: (B, 3, H, W) float32 RGB in [0, 1].
    labels: (B,) int64; -1 marks an image outside the classifier's classes.
    """

    ids: tuple[str, ...]
    images: Tensor
    labels: Tensor

    def __post_init__(self) -> None:
        if not len(self.ids) == len(self.images) == len(self.labels):
            raise ValueError(
                f"{len(self.ids)} ids, {len(self.images)} images and {len(self.labels)} labels in one batch"
            )

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True)
class Geometry:
    """How an image on disk becomes a network input: a property of the data set's protocol, never of the model.

    resize: shorter side in pixels, or None to leave the image as it is.
    crop: side of the centre crop in pixels; the side of every image that comes out.
    interpolation: the resampling filter of `resize`.
    """

    resize: int | None
    crop: int
    interpolation: str

    def scaled(self, crop: int) -> Geometry:
        """The same geometry at another size."""
        resize = self.resize and round(self.resize * crop / self.crop)
        return Geometry(resize, crop, self.interpolation)


@dataclass(frozen=True)
class Condition:
    """One cell of a suite: the same classifier, a different world.

    name: unique within the suite, "gaussian_noise/5" for a corruption at a severity.
    group: conditions that are averaged before any other mean is taken (the corruption without its severity).
    scored: False for conditions that are reported but never averaged in (the four extra corruptions).
    severity: 1 to 5, 0 for clean images.
    size: how many images were published for it; 0 where nobody published any. A run on fewer is partial.
    """

    name: str
    group: str
    scored: bool = True
    severity: int = 0
    size: int = 0


@dataclass(frozen=True)
class Metric:
    """A number that can be defended: its value, its interval, and how many source images stand behind it."""

    name: str
    condition: str
    value: float
    interval: tuple[float, float]
    n: int
    unit: str
    higher_is_better: bool


Noise = Callable[[str], Tensor]
"""Standard normal noise (B, 3, H, W) by purpose."""

Columns = Mapping[str, Tensor]
"""Columns of the sample table for one batch: (B,) or (B, K) per name."""


class Dataset(Protocol):
    """Labelled images with stable ids. Reading is random access, so that shards and resumes need no replay."""

    name: str
    num_classes: int
    geometry: Geometry

    @property
    def ids(self) -> Sequence[str]:
        """N different names, in an order that never changes."""

    @property
    def labels(self) -> Tensor:
        """(N,) int64."""

    @property
    def sha256(self) -> str:
        """Hash of ids, labels and pixels or of their manifest: two data sets with one hash are the same data."""

    def read(self, indices: Sequence[int]) -> Batch:
        """The samples at these positions of `ids`, in that order. Several threads may read at once.

        Raises BadImage for an image that cannot be read.
        """


class Pictures(Dataset, Protocol):
    """A data set that also shows its images as they were stored: what training crops at random."""

    @property
    def classes(self) -> Sequence[str]:
        """Names by label; empty where the classes have none."""

    def picture(self, index: int) -> Image:
        """One image, RGB, whole, of whatever size it has. Raises BadImage for one that cannot be read."""


class Classifier(Protocol):
    """Images (B, 3, H, W) in [0, 1] to logits (B, K). Normalisation lives inside."""

    def __call__(self, images: Tensor, /) -> Tensor: ...


@runtime_checkable
class FeatureClassifier(Protocol):
    """A classifier that shows its penultimate layer: ``head(features(x)) == self(x)``."""

    def __call__(self, images: Tensor, /) -> Tensor: ...

    def features(self, images: Tensor) -> Tensor:
        """Penultimate features (B, D)."""

    def head(self, features: Tensor) -> Tensor:
        """Logits (B, K) of features (B, D)."""


@runtime_checkable
class NoisyClassifier(Protocol):
    """A classifier that was made for diffused images: it is told the time. Called with images alone, it takes t = 0.

    denoised: whether it also looks at the one-step denoised image.
    """

    denoised: bool

    def __call__(self, images: Tensor, /) -> Tensor: ...

    def noisy(self, x_t: Tensor, x0_hat: Tensor | None, t: Tensor) -> Tensor:
        """Logits (B, K) of diffused images (B, 3, H, W) as `Denoiser.diffuse` gives them, around [-1, 1].

        x0_hat: the same after one reverse step, in [0, 1]; may be None where `denoised` is False. t: (B,) int64.
        """


@dataclass(frozen=True)
class Adaptation:
    """Settings of diffusion-driven adaptation (Gao et al., CVPR 2023, algorithm 1); the defaults are the authors'.

    steps: length of the respaced schedule.
    start: respaced index whose noise level the image is diffused to; the first network call is one level below.
    factor: downsampling factor of the low-pass filter.
    scale: strength of the guidance.
    norm: "sample" takes the norm of the residual image by image; "batch4" over fixed groups of four consecutive
        samples, which is what the authors' code computes with their batch size.
    """

    steps: int = 100
    start: int = 50
    factor: int = 4
    scale: float = 6.0
    norm: str = "sample"

    def __post_init__(self) -> None:
        if self.norm not in ("sample", "batch4"):
            raise HarnessError(f"dda: norm={self.norm!r} is neither 'sample' nor 'batch4'.")
        if not 0 < self.start < self.steps:
            raise HarnessError(f"dda: start={self.start} must lie between 1 and steps - 1 = {self.steps - 1}.")
        if self.factor < 1 or not 0 <= self.scale < float("inf"):
            raise HarnessError(f"dda: factor={self.factor} must be >= 1 and scale={self.scale} must be >= 0.")

    @property
    def settings(self) -> Adaptation:
        """These settings without whatever a method adds to them: the key under which adapted images are shared."""
        return Adaptation(self.steps, self.start, self.factor, self.scale, self.norm)

    @property
    def group(self) -> int:
        """How many consecutive samples share one norm."""
        return 4 if self.norm == "batch4" else 1


class Views(Protocol):
    """The images that a method may look at, all derived from one batch: (B, 3, H, W) float32 in [0, 1], on the CPU.

    Each is computed at most once, whatever methods and classifiers ask for it. A method that asks for anything but the
    original is declared with ``@method(name, denoiser=True)``.
    """

    def original(self) -> Tensor:
        """The images as they came."""

    def denoised(self, times: Sequence[int]) -> Iterator[Tensor]:
        """One-step denoisings from these diffusion times, in that order; time 0 is the original."""

    def adapted(self, settings: Adaptation) -> Tensor:
        """The images after diffusion-driven adaptation."""

    def restored(self) -> Tensor:
        """The images after one reverse step from the time that the suite diffused them to.

        HarnessError in suites that show images as they are.
        """


class Method(Protocol):
    """A test-time method: views of a batch and a classifier to class probabilities (B, K)."""

    def __call__(self, views: Views, classifier: Classifier, /) -> Tensor: ...


class Smoother(Protocol):
    """What randomized smoothing shows the classifier in place of an image: noise, and perhaps its removal.

    votes: images classified per noise draw; their most frequent class is the draw's vote.
    calls: denoiser calls per vote.
    """

    @property
    def votes(self) -> int: ...

    @property
    def calls(self) -> int: ...

    def __call__(self, images: Tensor, sigma: float, denoiser: Any, noise: Noise, vote: int, /) -> Tensor:
        """Images (B, 3, H, W) to classify, from images in [0, 1] under noise of standard deviation sigma.

        noise: the same purpose is the same noise for every vote of a draw.
        """


class Response(Protocol):
    """What a classifier makes of some images: what a detector looks at. All tensors are on the classifier's device.

    images: (R, 3, H, W) in [0, 1]. features: penultimate layer (R, D); HarnessError where the network shows none.
    logits: (R, K), what the head makes of the features. probabilities: (R, K), their softmax.
    classify: the network itself, images to logits, differentiable.
    head: features (R, D) to logits (R, K).
    """

    @property
    def images(self) -> Tensor: ...

    @property
    def features(self) -> Tensor: ...

    @property
    def logits(self) -> Tensor: ...

    @property
    def probabilities(self) -> Tensor: ...

    def classify(self, images: Tensor, /) -> Tensor: ...

    def head(self, features: Tensor, /) -> Tensor: ...


class Answer(Protocol):
    """What a test-time method makes of a classifier: what a detector declared with ``whole=True`` looks at.

    probabilities: (R, K), the method's. views: (V, R, K), those of each image that the method showed the classifier.
    """

    @property
    def probabilities(self) -> Tensor: ...

    @property
    def views(self) -> Tensor: ...


class FeatureSet(Protocol):
    """Features of a labelled data set that need not fit into memory.

    labels: (N,) int64. width: number of features D.
    """

    @property
    def labels(self) -> Tensor: ...

    @property
    def width(self) -> int: ...

    def chunks(self) -> Iterator[Tensor]:
        """Features (n, D) float32 on the CPU, in the order of `labels`, a few thousand rows at a time."""


class Bank(Protocol):
    """What a detector may learn from: the classifier's features of training and validation images.

    train, validation: in-distribution, computed when first asked for and kept on disk.
    training, validating: the images themselves. network: the classifier, an nn.Module on its device.
    """

    @property
    def training(self) -> Dataset: ...

    @property
    def validating(self) -> Dataset: ...

    @property
    def network(self) -> Any: ...

    @property
    def train(self) -> FeatureSet: ...

    @property
    def validation(self) -> FeatureSet: ...

    def head(self, features: Tensor, /) -> Tensor:
        """Logits (n, K) of features (n, D), on the CPU."""

    def remember(self, learn: Callable[[], Mapping[str, Tensor]], *, of: Any) -> Mapping[str, Tensor]:
        """The tensors that `learn` makes, computed once per classifier, data and detector `of`, and kept on disk."""


class Detector(Protocol):
    """A score of how much an image looks like the training data: higher is more in-distribution.

    A detector that learns from the classifier's own data has ``fit(bank)``, which returns the scoring function; one
    that does not is the scoring function. It takes a `Response` and returns (R,); under a test-time method that shows
    the classifier several images, the score is the mean over these. A detector declared ``@detector(name, whole=True)``
    takes the method's `Answer` instead; one declared with ``rectified=True`` was made for features >= 0, and records
    say where they are not.

    sweep: optional class variable, candidates of the settings that can be tuned.
    """

    def __call__(self, seen: Any, /) -> Tensor: ...


class DiffusedViews(Views, Protocol):
    """Views of a batch that a suite has diffused. The original is x_t on the scale of images, clipped to [0, 1].

    Methods that diffuse images themselves are refused: `denoised` and `adapted` raise HarnessError.

    noisy: x_t (B, 3, H, W), around [-1, 1], not clipped. times: t, (B,) int64.
    """

    noisy: Tensor
    times: Tensor


class SuiteViews(Views, Protocol):
    """The images that a suite may look at: also diffused ones and those of randomized smoothing."""

    def diffused(self, time: int | None) -> DiffusedViews:
        """The images diffused to a time, or with None each to its own, uniform over the denoiser's schedule.

        Unlike in `denoised`, time 0 is the schedule's first: one step of noise.
        """

    def smoothed(self, smoother: Smoother, sigma: float, rows: Tensor, draws: Tensor, vote: int) -> Tensor:
        """What a smoother shows in place of image ``rows[i]`` under noise draw ``draws[i]``, (R, 3, H, W).

        rows, draws: (R,) int64. vote: which of the smoother's votes. Not remembered: every draw is looked at once.
        """


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

    def observe(
        self,
        condition: Condition,
        views: SuiteViews,
        labels: Tensor,
        pairs: Sequence[Pair],
        known: Sequence[Columns | None],
    ) -> Iterator[Observation]:
        """Look at one batch under one condition: yields what is known so far, whole at last.

        A suite that takes long per image yields often: each observation moves the progress bar, and now and then the
        engine keeps one on disk.

        known: per pair the columns that an interrupted run had kept, rows of zeros for images it had not begun; None
            where there is nothing. A suite that goes on from them yields what they amount to first.
        """

    def summarise(self, rows: Mapping[str, Any]) -> tuple[Sequence[Metric], Sequence[str]]:
        """Metrics of one record, and notes on what could not be computed and why.

        rows: the sample table as numpy arrays: id, condition, label and the columns of `observe`, all (N, ...).
        """

    def figure(self, entries: Sequence[Any]) -> Any:
        """A matplotlib figure of one leaderboard's records."""

    def compare(self, a: Any, b: Any) -> Any:
        """A table of record b against record a, paired on the samples that both have."""


@dataclass(frozen=True)
class RunSpec:
    """Everything that decides a number. ``dataclasses.asdict`` of it, given back, is the same run.

    suite, models, methods: canonical names with their settings; a record's own spec holds one model and one method.
    denoiser: name or path, None where no method needs one.
    every: take every k-th test sample; 1 is the whole test set.
    limit: take at most this many samples per condition; 0 is no limit.
    dtype, denoiser_dtype: arithmetic of the classifiers and of the denoiser: float32, bfloat16 or float16.
    tile: rows per network call, whatever the batch; see `harness.networks`.
    compile: the networks went through torch.compile, which changes roundings.
    """

    suite: str
    models: tuple[str, ...]
    methods: tuple[str, ...]
    denoiser: str | None = None
    seed: int = 0
    every: int = 1
    limit: int = 0
    dtype: str = "float32"
    denoiser_dtype: str = "float32"
    tile: int = 100
    device: str = "cpu"
    compile: bool = False

    def __post_init__(self) -> None:
        if self.every < 1 or self.limit < 0 or self.tile < 1:
            raise HarnessError(
                f"every={self.every} and tile={self.tile} must be at least 1, limit={self.limit} at least 0."
            )

    @property
    def stride(self) -> str:
        """`every` in words: "every 3rd"."""
        teen = self.every % 100 in (11, 12, 13)
        return f"every {self.every}{'th' if teen else {1: 'st', 2: 'nd', 3: 'rd'}.get(self.every % 10, 'th')}"


def dtype_of(name: str) -> torch.dtype:
    """The torch type of a name: one of the three that the harness computes in."""
    try:
        return {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}[name]
    except KeyError:
        raise HarnessError(f"dtype {name!r} is not one of float32, bfloat16, float16.") from None
