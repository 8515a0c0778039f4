"""Views: the images derived from one batch, each computed at most once and shared by all classifiers and methods."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from harness.base import noise
from harness.diffusion.adaptation import adapt
from harness.diffusion.denoiser import Denoiser
from harness.diffusion.guided_sampler import GuidedSampler
from harness.models.tiles import Tiles
from harness.types import Adaptation, Batch, GradientClassifier, Guide, HarnessError, Method, Sampling, Smoother, Views

UNDIFFUSED = (
    "This suite shows images as they are, without a diffusion time to denoise them from. "
    "Choose a time (--tta de:100), or a suite that diffuses images (--suite noisy-accuracy)."
)
DIFFUSED = (
    "This suite diffuses images itself, and methods that do so again have no place in it. "
    "Take --tta default or --tta denoised."
)
NO_DENOISER = "This method needs a diffusion model and the suite has none. Name one with --denoiser."

DRAWS = 2**32
"""Draw numbers that a method may use; fresh noise for a whole method starts at a multiple: see `DrawnViews`."""


def view_noise(
    shape: Sequence[int], *, seed: int, purpose: str, ids: Sequence[str], step: int | Sequence[int], draw: int = 0
) -> Tensor:
    """Standard normal noise (B, *shape) of views, keyed by (seed, sample id, purpose, diffusion time or step).

    step: one for all or one for each. draw: 0 for the noise of the evaluation; others are independent of it.
    """
    # The purpose of draw 0 is that of records which are older than other draws.
    return noise.gaussian(shape, seed=seed, purpose=f"{purpose}/{draw}" if draw else purpose, samples=ids, draw=step)


class BatchViews:
    """Views of one batch (see `harness.types.Views`). All images are (B, 3, H, W) in [0, 1] on the CPU.

    Noise is keyed by (seed, sample id, purpose, time or step), and by the draw where that is not 0.

    calls: how many single images have gone through the denoiser so far.
    """

    def __init__(self, batch: Batch, denoiser: Denoiser | None, tiles: Tiles, seed: int) -> None:
        self.batch = batch
        self.calls = 0
        self._denoiser = denoiser
        self._tiles = tiles
        self._seed = seed
        self._denoised: dict[tuple[int, int], Tensor] = {}
        self._adapted: dict[tuple[Adaptation, int], Tensor] = {}
        self._diffused: dict[int | None, Diffused] = {}

    def original(self) -> Tensor:
        """The batch as it came."""
        return self.batch.images

    def drawn(self, draw: int) -> DrawnViews:
        """The same batch under fresh noise number `draw`, for a whole method; under that of the evaluation with 0."""
        return DrawnViews(self, draw)

    def denoised(self, times: Sequence[int], draw: int = 0) -> Iterator[Tensor]:
        """One-step denoisings at `times`, in that order; t = 0 is the image itself.

        Times that are not there yet go through the denoiser together, batched across times and images.
        """
        missing = sorted(time for time in set(times) if time and (time, draw) not in self._denoised)
        if missing:
            denoiser = self._require_denoiser()
            denoiser.check_times(tuple(missing))
            count = len(self.batch)
            noises = [self._noise("denoise", time, draw=draw) for time in missing]
            t = torch.tensor(missing).repeat_interleave(count)
            images = self.batch.images.repeat(len(missing), 1, 1, 1)
            x0 = self._tiles(
                lambda x, t, eps: denoiser.predict_x0(denoiser.diffuse(x, t, eps), t), images, t, torch.cat(noises)
            )
            for time, restored in zip(missing, x0.split(count), strict=True):
                self._denoised[time, draw] = restored
            self.calls += count * len(missing)
        yield from (self._denoised[time, draw] if time else self.batch.images for time in times)

    def adapted(self, settings: Adaptation, draw: int = 0) -> Tensor:
        """The batch after diffusion-driven adaptation."""
        if (settings, draw) not in self._adapted:
            denoiser = self._require_denoiser()
            if self._tiles.size % settings.group or self._tiles.multiple % settings.group:
                raise ValueError(f"tiles of {self._tiles.size} rows would split groups of {settings.group}")
            rows = torch.arange(len(self.batch))

            def adapt_rows(images: Tensor, row: Tensor) -> Tensor:
                places = row.tolist()
                real = torch.ones(len(row), device=row.device)
                real[1:] = (row[1:] != row[:-1]).float()

                def eps(step: int) -> Tensor:
                    return self._noise("dda", step, places, draw).to(images.device)

                return adapt(denoiser, images, settings, eps, real)

            self._adapted[settings, draw] = self._tiles(adapt_rows, self.batch.images, rows)
            self.calls += len(self.batch) * settings.start
        return self._adapted[settings, draw]

    def restored(self) -> Tensor:
        """Raises HarnessError: the batch as it came has no time."""
        raise HarnessError(UNDIFFUSED)

    def diffused(self, time: int | None) -> Diffused:
        """The batch diffused to a time, or each image to its own random one; with the noise of `denoised`."""
        if time not in self._diffused:
            denoiser, count = self._require_denoiser(), len(self.batch)
            if time is None:
                last = len(denoiser.schedule.betas)
                t = noise.integers(0, last, seed=self._seed, purpose="uniform-time", samples=self.batch.ids)
            else:
                t = torch.full((count,), time)
            x_t = denoiser.diffuse(self.batch.images, t, self._noise("denoise", t.tolist()))

            # Weakly: views in a cycle would hold on to their images until the garbage is collected.
            views, tiles = weakref.ref(self), self._tiles

            def restore() -> Tensor:
                if batch_views := views():
                    batch_views.calls += count
                return tiles(denoiser.predict_x0, x_t, t)

            def pull_back(gradients: Tensor, gradient_tiles: Tiles) -> Tensor:
                if batch_views := views():
                    batch_views.calls += count
                return gradient_tiles.gradient(denoiser.projected_x0, x_t, t, gradients)[1]

            alpha_bar = torch.from_numpy(denoiser.schedule.alpha_bar)[t]
            self._diffused[time] = Diffused(x_t, t, restore, alpha_bar, pull_back, denoiser.schedule.network_times(t))
        return self._diffused[time]

    def conditioned(self, time: int, labels: Tensor, weights: Sequence[float]) -> Iterator[Tensor]:
        """One-step denoisings from a time that are told the class, one per weight; with the noise of `denoised`."""
        denoiser, count = self._require_denoiser(), len(self.batch)
        t = torch.full((count,), time)
        x_t = denoiser.diffuse(self.batch.images, t, self._noise("denoise", time))

        def predict(x: Tensor, t: Tensor, y: Tensor) -> Tensor:
            return torch.cat([denoiser.predict_noise(x, t)[0], denoiser.predict_noise(x, t, labels=y)[0]], 1)

        without, for_class = self._tiles(predict, x_t, t, labels).chunk(2, 1)
        self.calls += 2 * count
        for weight in weights:
            noise = torch.lerp(without, for_class, weight)
            yield (denoiser.x0(denoiser.schedule, x_t, t, noise) + 1) / 2

    def generated(self, guide: Guide, network: Any, labels: Tensor, sampling: Sampling) -> Tensor:
        """Images sampled under a guide, a tile from its first step to the last: see `harness.types.SuiteViews`.

        Raises HarnessError for samples that are NaN or infinite.
        """
        shape = self.batch.images.shape[1:]
        sampler = GuidedSampler(self._require_denoiser(), guide, network, sampling, shape, self._seed, self._tiles)
        self.calls += len(self.batch) * sampler.denoiser_calls(int(labels.max()) + 1)
        return sampler(self.batch.ids, labels).float() / 255

    def smoothed(self, smoother: Smoother, sigma: float, rows: Tensor, draws: Tensor, vote: int) -> Tensor:
        """Images (R, 3, H, W) that the smoother shows in place of image `rows[i]` under noise draw `draws[i]`.

        rows, draws: (R,) int64. Nothing is cached: every draw is looked at once, by all classifiers.
        """
        denoiser = self._require_denoiser() if smoother.calls else None

        def smooth(row: Tensor, draw: Tensor) -> Tensor:
            places = row.tolist()
            numbers = draw.tolist()

            def eps(purpose: str) -> Tensor:
                return self._noise(f"smooth/{sigma:g}/{purpose}", numbers, places).to(row.device)

            return smoother(self.batch.images[row.cpu()].to(row.device), sigma, denoiser, eps, vote)

        self.calls += len(rows) * smoother.calls
        return self._tiles(smooth, rows, draws)

    def attacked(self, method: Method, classifier: Any, rows: Sequence[int]) -> GradientClassifier:
        """The method around a classifier as one classifier under attack, for the images in these places."""
        from harness.evaluation.views.gradients import MethodClassifier  # which imports this module

        ids = [self.batch.ids[row] for row in rows]
        return MethodClassifier(method, classifier, self._denoiser, self._tiles, self._seed, ids)

    def attack_noise(self, purpose: str, rows: Sequence[int]) -> Tensor:
        """Standard normal noise (R, 3, H, W) of an attack, keyed by the samples in these places."""
        return self._noise(f"attack/{purpose}", 0, rows)

    def _noise(
        self, purpose: str, step: int | Sequence[int], rows: Sequence[int] | None = None, draw: int = 0
    ) -> Tensor:
        ids = self.batch.ids if rows is None else [self.batch.ids[r] for r in rows]
        shape = self.batch.images.shape[1:]
        return view_noise(shape, seed=self._seed, purpose=purpose, ids=ids, step=step, draw=draw)

    def _require_denoiser(self) -> Denoiser:
        if self._denoiser is None:
            raise HarnessError(NO_DENOISER)
        return self._denoiser


class DrawnViews:
    """Views under fresh noise number `number`: what a method sees when its whole output is drawn anew.

    A method's own draw j is draw ``number * DRAWS + j`` of the views, so that the draws of two numbers never meet.
    """

    def __init__(self, views: Views, number: int) -> None:
        self._views = views
        self._first = number * DRAWS

    def original(self) -> Tensor:
        """The images as they came: no noise is in them."""
        return self._views.original()

    def denoised(self, times: Sequence[int], draw: int = 0) -> Iterator[Tensor]:
        """One-step denoisings under fresh noise."""
        return self._views.denoised(times, self._first + draw)

    def adapted(self, settings: Adaptation, draw: int = 0) -> Tensor:
        """The images adapted under fresh noise."""
        return self._views.adapted(settings, self._first + draw)

    def restored(self) -> Tensor:
        """The images after one reverse step, where the suite diffuses them."""
        return self._views.restored()


class Diffused:
    """Views of a batch that was diffused (see `harness.types.DiffusedViews`).

    restore: computes the one-step denoised images; called once, when they are first needed.
    pull_back: computes `pulled_back`; a suite that differentiates nothing needs none.
    network_times: `times` by default.
    """

    def __init__(
        self,
        noisy: Tensor,
        times: Tensor,
        restore: Callable[[], Tensor],
        alpha_bar: Tensor | None = None,
        pull_back: Callable[[Tensor, Tiles], Tensor] | None = None,
        network_times: Tensor | None = None,
    ) -> None:
        self.noisy = noisy
        self.times = times
        self.network_times = times if network_times is None else network_times
        self.alpha_bar = torch.empty(0) if alpha_bar is None else alpha_bar
        self._restore = restore
        self._pull_back = pull_back

    def original(self) -> Tensor:
        """x_t on the scale of images, clipped."""
        return self._clipped

    def restored(self) -> Tensor:
        """The one-step denoised images."""
        return self._restored

    def pulled_back(self, gradients: Tensor, tiles: Tiles) -> Tensor:
        """Gradients by the denoised image as gradients by x_t: see `harness.types.DiffusedViews`."""
        if self._pull_back is None:
            raise HarnessError(NO_DENOISER)
        return self._pull_back(gradients, tiles)

    @cached_property
    def _clipped(self) -> Tensor:
        return ((self.noisy + 1) / 2).clamp(0, 1)

    @cached_property
    def _restored(self) -> Tensor:
        return self._restore()

    def denoised(self, times: Sequence[int], draw: int = 0) -> Iterator[Tensor]:
        """Raises HarnessError: the images are diffused already."""
        raise HarnessError(DIFFUSED)

    def adapted(self, settings: Adaptation, draw: int = 0) -> Tensor:
        """Raises HarnessError, as `denoised` does."""
        raise HarnessError(DIFFUSED)
