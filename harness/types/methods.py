"""Classifiers, and the test-time methods and smoothers around them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol, Self, runtime_checkable

from harness.base.errors import HarnessError

if TYPE_CHECKING:
    from torch import Tensor

    from harness.types.guides import Guide, Sampling

Noise = Callable[[str], "Tensor"]
"""From a purpose to standard normal noise (B, 3, H, W) for it; another purpose is another, independent draw."""


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


class GradientClassifier(Protocol):
    """A classifier under attack: a network, or a test-time method around one (`harness.evaluation.views.gradients`).

    Images are (B, 3, H, W) in [0, 1] on the CPU; results are float32 on the CPU.
    """

    def __call__(self, images: Tensor, /) -> Tensor:
        """Logits (B, K); of a method the logarithms of its class probabilities, which are logits of the same softmax.

        What the evaluation computes: the attack succeeds where their argmax is wrong.
        """

    def gradient(self, images: Tensor, loss: Callable[..., Tensor], *rows: Tensor) -> tuple[Tensor, Tensor]:
        """Values (B,) of a loss at images and its gradients (B, 3, H, W) by these.

        Computed in float32, in tiles of a fixed number of rows: the same bits at any batch size.

        loss: ``loss(logits, *rows)``, logits (b, K) to values (b,), one image's from its row alone; differentiable.
        rows: what else the loss needs per image, such as labels: tensors (B, ...). A tile shows the loss some of the
            images only, the last one repeats an image, and both lie on the device: a loss that closed over labels (B,)
            would meet other rows than it means, so the tensors travel with the images.
        Raises HarnessError where the loss cannot be differentiated, or gives anything but one value per image.
        """

    def drawn(self, draw: int) -> GradientClassifier:
        """The same under fresh noise number `draw`; under that of the evaluation with 0. Itself where none is drawn."""

    def of(self, rows: Sequence[int]) -> GradientClassifier:
        """The same for some of the images, those in these places: noise belongs to a sample. Itself without noise."""

    def straight_through(self) -> GradientClassifier:
        """The same with the identity for the derivative of its views (BPDA). Itself where it has no views."""

    @property
    def undefended(self) -> GradientClassifier:
        """The classifier without the method, which attacks by transfer look at. Itself where there is no method."""


@runtime_checkable
class NoisyClassifier(Protocol):
    """A classifier of diffused images, which takes the diffusion time. Called with images alone, it assumes t = 0.

    denoised: whether it also takes the one-step denoised image.
    Two more attributes may be missing. `noise_schedule`: name and number of times of the schedule that it was trained
    with, such as ("cosine", 1000); None if unknown. `takes_network_times`: true if its t is the time that a denoiser's
    network sees, scaled to 1000 in some schedules, and not the schedule's index: see `times_for`.
    """

    denoised: bool

    def __call__(self, images: Tensor, /) -> Tensor: ...

    def noisy(self, x_t: Tensor, x0_hat: Tensor | None, t: Tensor) -> Tensor:
        """Logits (B, K) of diffused images (B, 3, H, W) as `Denoiser.diffuse` gives them, around [-1, 1].

        x0_hat: the same after one reverse step, in [0, 1]; may be None where `denoised` is False. t: (B,) int64, or
        float32 of a classifier that takes the times of a denoiser's network.
        """


class TimedImages(Protocol):
    """Diffused images as a step of a sampler or a suite has them.

    times: (B,) int64, indices of the noise schedule. network_times: (B,), the same as the denoiser's network sees them.
    """

    @property
    def times(self) -> Tensor: ...

    @property
    def network_times(self) -> Tensor: ...


def times_for(network: NoisyClassifier, images: TimedImages) -> Tensor:
    """The times (B,) that a classifier of diffused images is given: indices, unless it takes those of networks."""
    return images.network_times if getattr(network, "takes_network_times", False) else images.times


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
            raise HarnessError(f"dda: norm={self.norm!r} must be one of sample, batch4.")
        if not 0 < self.start < self.steps:
            raise HarnessError(f"dda: start={self.start} must lie between 1 and steps - 1 = {self.steps - 1}.")
        if self.factor < 1 or not 0 <= self.scale < float("inf"):
            raise HarnessError(f"dda: factor={self.factor} must be >= 1 and scale={self.scale} must be >= 0.")

    @property
    def settings(self) -> Adaptation:
        """These settings without what a method adds to them: the key under which adapted images are shared."""
        return Adaptation(self.steps, self.start, self.factor, self.scale, self.norm)

    def shortened(self, start: int) -> Self:
        """The same method with an adaptation of `start` steps from about the same noise level: an attack's surrogate.

        Every guidance step pulls that much further, so that all of them pull as far as those of the defence together.
        Raises HarnessError unless 1 <= start <= the defence's own.
        """
        if not 1 <= start <= self.start:
            raise HarnessError(f"surrogate={start} must be a number of steps from 1 to the defence's {self.start}.")
        steps = 1 + round((self.steps - 1) * start / self.start)
        return replace(self, steps=steps, start=start, scale=self.scale * self.start / start)

    @property
    def group(self) -> int:
        """Number of consecutive samples that share one norm."""
        return 4 if self.norm == "batch4" else 1


class Views(Protocol):
    """The images that a method may look at, all derived from one batch: (B, 3, H, W) float32 in [0, 1], on the CPU.

    Each is computed at most once, whatever methods and classifiers ask for it. A method that asks for anything but the
    original is declared with ``@method(name, denoiser=True)``. A gradient attack shows the method views on the device.
    """

    def original(self) -> Tensor:
        """The images as they came."""

    def denoised(self, times: Sequence[int], draw: int = 0) -> Iterator[Tensor]:
        """One-step denoisings from these diffusion times, in that order; time 0 is the original.

        draw: number of the noise draw; other draws of an image are independent.
        """

    def adapted(self, settings: Adaptation, draw: int = 0) -> Tensor:
        """The images after diffusion-driven adaptation, under noise draw number `draw`."""

    def restored(self) -> Tensor:
        """The images after one reverse step from the time that the suite diffused them to.

        HarnessError in suites that show images as they are.
        """


class DiffusedViews(Views, Protocol):
    """Views of a batch that a suite has diffused. The original is x_t on the scale of images, clipped to [0, 1].

    Methods that diffuse images themselves are refused: `denoised` and `adapted` raise HarnessError.

    noisy: x_t (B, 3, H, W), around [-1, 1], not clipped. times: t, (B,) int64. network_times: (B,), the same as the
    denoiser's network sees them. alpha_bar: of these, (B,) float64.
    """

    noisy: Tensor
    times: Tensor
    network_times: Tensor
    alpha_bar: Tensor

    def pulled_back(self, gradients: Tensor, tiles: Any) -> Tensor:
        """Gradients by the denoised image, (B, 3, H, W), as gradients by x_t: J^T g, J the denoiser's derivative.

        Both images are in [-1, 1] here; where the denoised image is clipped, J is 0.
        tiles: a classifier's `gradient_tiles`.
        """


class SuiteViews(Views, Protocol):
    """The images that a suite may look at: also diffused ones and those of randomized smoothing."""

    def diffused(self, time: int | None) -> DiffusedViews:
        """The images diffused to a time, or with None each to its own, uniform over the denoiser's schedule.

        Unlike in `denoised`, time 0 is the schedule's first: one step of noise.
        """

    def conditioned(self, time: int, labels: Tensor, weights: Sequence[float]) -> Iterator[Tensor]:
        """One-step denoisings from a time by the noise (1 - w) eps(x_t, t) + w eps(x_t, t, y), one per weight w.

        The conditional DiffAug of Sastry et al., NeurIPS 2024. Two calls per image, for all weights together. labels:
        (B,) int64, the classes y. Raises HarnessError for a denoiser that takes no class, or that always needs one.
        """

    def generated(self, guide: Guide, network: Any, labels: Tensor, sampling: Sampling) -> Tensor:
        """Images (B, 3, H, W) in [0, 1] on the 8-bit grid, sampled from noise in place of the batch's own.

        guide: steers them, with its classifier `network`, None for a guide that asks none. labels: (B,) int64, classes
        asked for. Not cached: every pair of classifier and guide has its own.
        """

    def smoothed(self, smoother: Smoother, sigma: float, rows: Tensor, draws: Tensor, vote: int) -> Tensor:
        """Images (R, 3, H, W) that a smoother shows in place of image ``rows[i]`` under noise draw ``draws[i]``.

        rows, draws: (R,) int64. vote: number of the smoother's vote. Not cached: every draw is looked at once.
        """

    def attacked(self, method: Method, classifier: Any, rows: Sequence[int]) -> GradientClassifier:
        """A test-time method around a tiled classifier as one classifier under attack.

        rows: places (R,) of the images that it will be shown, whose samples key the method's noise.
        """

    def attack_noise(self, purpose: str, rows: Sequence[int]) -> Tensor:
        """Standard normal noise (R, 3, H, W) for an attack on the images in these places, keyed by their samples.

        purpose: another one is another, independent draw.
        """


class Method(Protocol):
    """A test-time method: views of a batch and a classifier to class probabilities (B, K)."""

    def __call__(self, views: Views, classifier: Classifier, /) -> Tensor: ...


class Smoother(Protocol):
    """The image that randomized smoothing shows the classifier: with noise, and perhaps with its removal.

    votes: images classified per noise draw; their most frequent class is the draw's vote.
    calls: denoiser calls per vote.
    """

    @property
    def votes(self) -> int: ...

    @property
    def calls(self) -> int: ...

    def __call__(self, images: Tensor, sigma: float, denoiser: Any, noise: Noise, vote: int, /) -> Tensor:
        """Images (B, 3, H, W) to classify, from images in [0, 1] under noise of standard deviation sigma.

        noise: the same purpose is the same noise for every vote of a draw. "image" is the noise of standard deviation
            sigma: attacks on certificates put theirs in its place.
        """
