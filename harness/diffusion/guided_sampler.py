"""Samples under a guide, tile by tile: a sample depends on its id, its class and the settings alone."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from harness import plugins
from harness.diffusion.denoiser import Denoiser
from harness.diffusion.guided import SamplingStep, advance, pixels, sample_noise, trajectory
from harness.diffusion.guided_calls import calls_of_step
from harness.models.tiles import Tiles, finite
from harness.types import Guide, HarnessError, Sampling


@dataclass(frozen=True, eq=False)
class GuidedSampler:
    """A denoiser under a guide, and everything else that decides samples but their ids and classes.

    network: the guide's classifier, on its device; None for a guide that asks none.
    shape: (3, H, W) of a sample. seed: of the noise, see `harness.diffusion.guided.sample_noise`.
    tiles: a tile of samples goes from the first step to the last.
    """

    denoiser: Denoiser
    guide: Guide
    network: Any
    settings: Sampling
    shape: Sequence[int]
    seed: int
    tiles: Tiles

    @cached_property
    def times(self) -> list[int]:
        """The sampler's times, ascending."""
        return self.denoiser.schedule.spaced(self.settings.steps)

    @property
    def acting(self) -> list[int]:
        """Numbers of the steps in which the guide acts: see `acting`."""
        return acting(self.guide, self.times)

    def denoiser_calls(self, classes: int) -> int:
        """Predictions of the denoiser per sample: one in each step without the guide. classes: K."""
        step = calls_of_step(self.guide, getattr(self.network, "denoised", False), classes)
        return len(self.times) + len(self.acting) * (step.denoiser - 1)

    def __call__(
        self, ids: Sequence[str], labels: Tensor, report: Callable[[float], None] = lambda share: None
    ) -> Tensor:
        """Samples (N, 3, H, W) uint8 on the CPU. The same bytes in any company.

        labels: (N,) int64, classes asked for. report: receives the share of the work that is done, after each step.
        Raises HarnessError for samples that are NaN or infinite.
        """
        done = 0

        def sample(asked: Tensor, rows: Tensor) -> Tensor:
            nonlocal done
            own = [ids[row] for row in rows.tolist()]
            fresh = len(set(own))  # the last tile is padded with copies

            def draw(step: int | None) -> Tensor:
                return sample_noise(self.shape, self.seed, own, step).to(asked.device)

            x = draw(None)
            steps = trajectory(self.denoiser, self.guide, self.network, x, asked, self.settings, draw)
            for number, x in enumerate(steps, 1):  # noqa: B007  # the last one is returned
                report(min((done + fresh * number / len(self.times)) / len(ids), 1.0))
            done += fresh
            remedy = "Check the checkpoints, or take a smaller scale or --dtype float32."
            finite(x.flatten(1), f"Sampling under --guide {named(self.guide)}", remedy)
            return pixels(x)

        return self.tiles(sample, labels, torch.arange(len(ids))).to(torch.uint8)

    def step(self, number: int, x: Tensor, labels: Tensor) -> Tensor:
        """One step alone from x_t (B, 3, H, W), without noise: for trials and timings.

        number: of the step, from 0 at the largest time.
        """
        position = len(self.times) - 1 - number
        schedule = self.denoiser.schedule.at(self.times)
        step = SamplingStep(self.denoiser, schedule, position, self.times[position], x, labels)
        return advance(step, self.guide, self.network, self.settings, lambda: torch.zeros_like(x))

    def seconds(self, classes: int) -> float:
        """Seconds of a tile on this machine, from one step with the guide and one without. classes: K."""
        others = sorted(set(range(len(self.times))) - set(self.acting))
        return sum(len(some) * self._timed(some[0], classes) for some in (self.acting, others) if some)

    def _timed(self, number: int, classes: int) -> float:
        """Seconds of one step of a tile: of the second call, as the first one warms up."""
        rows = range(self.tiles.size)
        x = sample_noise(self.shape, self.seed, [f"estimate/{row}" for row in rows], None)
        labels = torch.arange(len(rows)) % classes
        for _ in range(2):
            began = time.perf_counter()
            self.tiles(lambda x, labels: self.step(number, x, labels), x, labels)
        return time.perf_counter() - began


def acting(guide: Guide, times: Sequence[int]) -> list[int]:
    """Numbers of the steps in which a guide acts, from 0 at the largest time. times: of the sampler, ascending."""
    low, high = guide.interval
    return [number for number, time in enumerate(reversed(times)) if low <= time < high]


def check_interval(guide: Guide, times: Sequence[int]) -> None:
    """Raise HarnessError for a guide that acts at none of the sampler's times, which ascend."""
    if not acting(guide, times):
        raise HarnessError(
            f"--guide {named(guide)}: its interval holds none of the sampler's {len(times)} times, {times[0]} to "
            f"{times[-1]}. Widen it, or take --guide none."
        )


def named(guide: Guide) -> str:
    """A guide as users write it."""
    return plugins.guide.text_of(guide) or type(guide).__name__
