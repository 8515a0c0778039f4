"""The images derived from one batch: each computed at most once, shared by every classifier and method of the run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from harness import noise
from harness.diffusion.adaptation import adapt
from harness.diffusion.denoiser import Denoiser
from harness.networks import Tiles
from harness.types import Adaptation, Batch, HarnessError, Smoother


class BatchViews:
    """Views of one batch (see `harness.types.Views`). All images are (B, 3, H, W) in [0, 1] on the CPU.

    Noise is keyed by (seed, sample id, purpose, time or step).

    calls: how many single images have gone through the denoiser so far.
    """

    def __init__(self, batch: Batch, denoiser: Denoiser | None, tiles: Tiles, seed: int) -> None:
        self.batch = batch
        self.calls = 0
        self._denoiser = denoiser
        self._tiles = tiles
        self._seed = seed
        self._denoised: dict[int, Tensor] = {0: batch.images}
        self._adapted: dict[Adaptation, Tensor] = {}

    def original(self) -> Tensor:
        """The batch as it came."""
        return self.batch.images

    def denoised(self, times: Sequence[int]) -> Iterator[Tensor]:
        """One-step denoisings at `times`, in that order; t = 0 is the image itself.

        Times that are not there yet go through the denoiser together, batched across times and images.
        """
        missing = sorted(set(times) - self._denoised.keys())
        if missing:
            denoiser = self._require_denoiser()
            denoiser.check_times(tuple(missing))
            count = len(self.batch)
            noises = [self._noise("denoise", time) for time in missing]
            t = torch.tensor(missing).repeat_interleave(count)
            images = self.batch.images.repeat(len(missing), 1, 1, 1)
            x0 = self._tiles(
                lambda x, t, eps: denoiser.predict_x0(denoiser.diffuse(x, t, eps), t), images, t, torch.cat(noises)
            )
            self._denoised.update(zip(missing, x0.split(count), strict=True))
            self.calls += count * len(missing)
        yield from (self._denoised[time] for time in times)

    def adapted(self, settings: Adaptation) -> Tensor:
        """The batch after diffusion-driven adaptation."""
        if settings not in self._adapted:
            denoiser = self._require_denoiser()
            if self._tiles.size % settings.group or self._tiles.multiple % settings.group:
                raise ValueError(f"tiles of {self._tiles.size} rows would split groups of {settings.group}")
            rows = torch.arange(len(self.batch))

            def adapt_rows(images: Tensor, row: Tensor) -> Tensor:
                picked = row.tolist()
                real = torch.ones(len(row), device=row.device)
                real[1:] = (row[1:] != row[:-1]).float()
                return adapt(
                    denoiser, images, settings, lambda k: self._noise("dda", k, picked).to(images.device), real
                )

            self._adapted[settings] = self._tiles(adapt_rows, self.batch.images, rows)
            self.calls += len(self.batch) * settings.start
        return self._adapted[settings]

    def smoothed(self, smoother: Smoother, sigma: float, rows: Tensor, draws: Tensor, vote: int) -> Tensor:
        """What the smoother shows in place of image `rows[i]` under noise draw `draws[i]`, (R, 3, H, W).

        Not remembered: every draw is looked at once, by all classifiers.
        """
        denoiser = self._require_denoiser() if smoother.calls else None

        def smooth(row: Tensor, draw: Tensor) -> Tensor:
            picked, drawn = row.tolist(), draw.tolist()

            def eps(purpose: str) -> Tensor:
                return self._noise(f"smooth/{sigma:g}/{purpose}", drawn, picked).to(row.device)

            return smoother(self.batch.images[row.cpu()].to(row.device), sigma, denoiser, eps, vote)

        self.calls += len(rows) * smoother.calls
        return self._tiles(smooth, rows, draws)

    def _noise(self, purpose: str, draw: int | Sequence[int], rows: Sequence[int] | None = None) -> Tensor:
        ids = self.batch.ids if rows is None else [self.batch.ids[r] for r in rows]
        return noise.gaussian(self.batch.images.shape[1:], seed=self._seed, purpose=purpose, samples=ids, draw=draw)

    def _require_denoiser(self) -> Denoiser:
        if self._denoiser is None:
            raise HarnessError("This method needs a diffusion model and the suite has none. Name one with --denoiser.")
        return self._denoiser
