"""Gradients through a test-time method: from its class probabilities back to the images."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from harness.diffusion.denoiser import Denoiser
from harness.diffusion.differentiable import adapt_differentiably
from harness.evaluation.views.batch import NO_DENOISER, UNDIFFUSED, BatchViews, DrawnViews, view_noise
from harness.models.tiles import TiledClassifier, Tiles
from harness.types import Adaptation, Batch, HarnessError, Method


class GradientViews:
    """Views of one tile (see `harness.types.Views`) through which gradients flow back to its images.

    The noise is that of `BatchViews`. A view is computed again in the backward pass instead of keeping its activations:
    a method over many times needs the memory of one.

    images: (b, 3, H, W) in [0, 1] on the device. ids: (b,) of their samples.
    """

    def __init__(self, images: Tensor, ids: Sequence[str], denoiser: Denoiser | None, seed: int) -> None:
        self._images = images
        self._ids = ids
        self._denoiser = denoiser
        self._seed = seed
        self._denoised: dict[tuple[int, int], Tensor] = {}
        self._adapted: dict[tuple[Adaptation, int], Tensor] = {}

    def original(self) -> Tensor:
        """The images themselves."""
        return self._images

    def denoised(self, times: Sequence[int], draw: int = 0) -> Iterator[Tensor]:
        """One-step denoisings, exactly differentiable: diffusion, network and clipping."""
        for time in times:
            yield self._denoise(time, draw) if time else self._images

    def adapted(self, settings: Adaptation, draw: int = 0) -> Tensor:
        """Adapted images, exactly differentiable: all steps, and the guidance within each."""
        if (settings, draw) not in self._adapted:
            denoiser = self._require_denoiser()
            self._adapted[settings, draw] = adapt_differentiably(
                denoiser, self._images, settings, lambda step: self._noise("dda", step, draw)
            )
        return self._adapted[settings, draw]

    def restored(self) -> Tensor:
        """Raises HarnessError: images under attack are not diffused."""
        raise HarnessError(UNDIFFUSED)

    def _denoise(self, time: int, draw: int) -> Tensor:
        if (time, draw) not in self._denoised:
            denoiser = self._require_denoiser()
            denoiser.check_times((time,))
            eps = self._noise("denoise", time, draw)
            t = torch.full((len(self._images),), time, device=self._images.device)
            self._denoised[time, draw] = recomputed(
                lambda x: denoiser.predict_x0(denoiser.diffuse(x, t, eps), t), self._images
            )
        return self._denoised[time, draw]

    def _noise(self, purpose: str, step: int, draw: int) -> Tensor:
        shape = self._images.shape[1:]
        drawn = view_noise(shape, seed=self._seed, purpose=purpose, ids=self._ids, step=step, draw=draw)
        return drawn.to(self._images.device)

    def _require_denoiser(self) -> Denoiser:
        if self._denoiser is None:
            raise HarnessError(NO_DENOISER)
        return self._denoiser


class StraightThroughViews(GradientViews):
    """The same views, whose derivative by the image is taken for the identity.

    BPDA, backward pass differentiable approximation (Athalye et al., ICML 2018, section 4.1): right where a view is
    about the image itself, whatever its own derivative. It finds defences whose exact gradient leads an attack astray.
    """

    def adapted(self, settings: Adaptation, draw: int = 0) -> Tensor:
        """Adapted images; gradients pass them unchanged."""
        with torch.no_grad():
            adapted = super().adapted(settings, draw)
        return _passed(self._images, adapted)

    def _denoise(self, time: int, draw: int) -> Tensor:
        with torch.no_grad():
            denoised = super()._denoise(time, draw)
        return _passed(self._images, denoised)


class _StraightThrough(torch.autograd.Function):
    """The second argument, with the derivative of the first."""

    @staticmethod
    def forward(ctx: Any, images: Tensor, view: Tensor) -> Tensor:
        return view.clone()

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, None]:
        return upstream, None


def _passed(images: Tensor, view: Tensor) -> Tensor:
    result: Tensor = _StraightThrough.apply(images, view)
    return result


def recomputed(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """``function(x)``, whose activations are computed again in the backward pass instead of being kept.

    The function may write into its input, and must give the same numbers again.
    """
    result: Tensor = checkpoint(lambda y: function(y.clone()), x, use_reentrant=False, preserve_rng_state=False)
    return result


@dataclass(frozen=True, eq=False)
class MethodClassifier:
    """A test-time method around a classifier as one classifier under attack (see `harness.types.GradientClassifier`).

    Its logits are the logarithms of the method's class probabilities. Losses of logits mean the same for these: the
    cross-entropy is -log p_y; a softmax over probabilities themselves would flatten them, and their gradients.

    denoiser, tiles: the diffusion model of the views and how the evaluation calls it; gradients take the tiles of the
        classifier's. ids: samples of the images, one each, which key the noise. draw: number of the noise draw.
    straight: gradients pass the views unchanged: see `StraightThroughViews`. limit: first draw that is refused.
    """

    method: Method
    classifier: TiledClassifier
    denoiser: Denoiser | None
    tiles: Tiles
    seed: int
    ids: Sequence[str]
    draw: int = 0
    straight: bool = False
    limit: int | None = None

    def __call__(self, images: Tensor) -> Tensor:
        """Logits (B, K) of what the evaluation computes, on the CPU."""
        self._check(images)
        unlabelled = torch.full((len(images),), -1)
        views = BatchViews(Batch(tuple(self.ids), images, unlabelled), self.denoiser, self.tiles, self.seed)
        return log_probabilities(self.method(views.drawn(self.draw), self.classifier))

    def gradient(self, images: Tensor, loss: Callable[..., Tensor], *rows: Tensor) -> tuple[Tensor, Tensor]:
        """Values (B,) of a loss and its gradients (B, 3, H, W) by the images, through the method's views."""
        self._check(images)
        make_views = StraightThroughViews if self.straight else GradientViews

        def value(x: Tensor, row: Tensor, *others: Tensor) -> Tensor:
            views = make_views(x, [self.ids[k] for k in row.tolist()], self.denoiser, self.seed)
            probabilities = self.method(DrawnViews(views, self.draw), self._network)
            return loss(log_probabilities(probabilities), *others)

        return self.classifier.gradient_tiles.gradient(value, images, torch.arange(len(images)), *rows)

    def drawn(self, draw: int) -> MethodClassifier:
        """The same under fresh noise number `draw`; raises HarnessError from `limit` on."""
        if self.limit is not None and draw >= self.limit:
            raise HarnessError(
                f"An attack asks for noise draw {draw:,}; draws from {self.limit:,} on judge its images. Take fewer "
                "steps, restarts or draws."
            )
        return replace(self, draw=draw)

    def of(self, rows: Sequence[int]) -> MethodClassifier:
        """The same for some of the images: those in these places."""
        return replace(self, ids=[self.ids[row] for row in rows])

    def straight_through(self) -> MethodClassifier:
        """The same, whose gradients take the views for the image itself: see `StraightThroughViews`."""
        return replace(self, straight=True)

    @property
    def undefended(self) -> TiledClassifier:
        """The classifier without the method."""
        return self.classifier

    def surrogate(self, steps: int) -> MethodClassifier:
        """The same around a method of fewer steps, through which an attack's gradients cost less.

        Raises HarnessError for methods that are no chain of steps.
        """
        if not isinstance(self.method, Adaptation):
            raise HarnessError(
                f"surrogate={steps}: the method is no chain of steps that could be shorter, as dda is. Leave it out."
            )
        method: Any = self.method.shortened(steps)
        return replace(self, method=method)

    def _network(self, images: Tensor) -> Tensor:
        return recomputed(self.classifier.network, images)

    def _check(self, images: Tensor) -> None:
        if len(images) != len(self.ids):
            raise ValueError(f"{len(images)} images for {len(self.ids)} samples: noise belongs to a sample")


def log_probabilities(probabilities: Tensor) -> Tensor:
    """Logarithms of class probabilities (B, K), finite: from the smallest normal number of their type upwards."""
    return probabilities.clamp(min=torch.finfo(probabilities.dtype).tiny).log()
