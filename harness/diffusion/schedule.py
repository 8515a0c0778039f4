"""Noise schedules in float64: beta_t, alpha_bar_t and the respaced schedules of guided-diffusion."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.types import HarnessError

if TYPE_CHECKING:
    from torch import Tensor

Floats = np.ndarray


@dataclass(frozen=True, eq=False)
class Schedule:
    """A discrete diffusion schedule (Ho et al., NeurIPS 2020): x_t = sqrt(abar_t) x_0 + sqrt(1 - abar_t) noise.

    betas: (T,) float64; index t = 0 is one step of noise.
    times: (T,) the network's own time for each index; differs from the index in a respaced schedule.
    """

    betas: Floats
    times: Floats

    def network_times(self, index: Tensor) -> Tensor:
        """The network's own times (B,) at indices (B,) int64, on their device: int64, or float32 where rescaled."""
        import torch  # figures read schedules, and start without it

        return torch.from_numpy(self.times).to(index.device)[index]

    @cached_property
    def alpha_bar(self) -> Floats:
        """(T,) float64, the remaining share of the signal's variance at each index."""
        return np.cumprod(1.0 - self.betas)

    @cached_property
    def posterior_variance(self) -> Floats:
        """(T,) variance of q(x_{t-1} | x_t, x_0) (Ho et al., eq. 7); zero at index 0."""
        previous = np.append(1.0, self.alpha_bar[:-1])
        return self.betas * (1.0 - previous) / (1.0 - self.alpha_bar)

    @cached_property
    def posterior_mean(self) -> tuple[Floats, Floats]:
        """Coefficients of x_0 and of x_t in the mean of q(x_{t-1} | x_t, x_0) (Ho et al., eq. 7)."""
        previous = np.append(1.0, self.alpha_bar[:-1])
        of_x0 = self.betas * np.sqrt(previous) / (1.0 - self.alpha_bar)
        of_xt = (1.0 - previous) * np.sqrt(1.0 - self.betas) / (1.0 - self.alpha_bar)
        return of_x0, of_xt

    @cached_property
    def posterior_log_variance(self) -> Floats:
        """Log of `posterior_variance`, with index 1 standing in for the zero at index 0."""
        return np.log(np.append(self.posterior_variance[1], self.posterior_variance[1:]))

    def respaced(self, steps: int) -> Schedule:
        """The same process seen at `steps` evenly spaced times: see `spread`."""
        return self.at(self.spread(steps))

    def spread(self, steps: int) -> list[int]:
        """Evenly spaced indices, first and last included (Nichol & Dhariwal, 2021).

        guided-diffusion accumulates a fractional stride and rounds half to even; so does this.
        """
        total = len(self.betas)
        if not 1 < steps <= total:
            raise HarnessError(
                f"A schedule of {total} times cannot be respaced to {steps}: give a number of steps from 2 to {total}."
            )
        stride = (total - 1) / (steps - 1)
        indices: list[int] = []
        position = 0.0
        for _ in range(steps):
            indices.append(round(position))
            position += stride
        return indices

    def spaced(self, steps: str) -> list[int]:
        """Indices of a respaced process: "250" as `respaced` has them, "ddim25" at a whole stride from 0 (Song et al.).

        Raises HarnessError for a number of steps that no whole stride gives.
        """
        if not steps.startswith("ddim"):
            return self.spread(int(steps))
        total, count = len(self.betas), int(steps.removeprefix("ddim"))
        for stride in range(1, total + 1):
            if len(range(0, total, stride)) == count:
                return list(range(0, total, stride))
        raise HarnessError(f"steps={steps}: no whole stride gives {count} of {total} times. Give {count}, or another.")

    def rescaled(self) -> Schedule:
        """The same process for a network whose times are scaled to 1000 (Nichol & Dhariwal, 2021)."""
        return replace(self, times=(self.times * (1000 / len(self.betas))).astype(np.float32))

    def at(self, indices: Sequence[int] | Floats) -> Schedule:
        """The same process at some of its indices, in rising order."""
        alpha_bar = self.alpha_bar[indices]
        return Schedule(1.0 - alpha_bar / np.append(1.0, alpha_bar[:-1]), self.times[indices])

    def time_of(self, sigma: float) -> int:
        """The first index t >= 1 whose noise is at least that of an image in [0, 1] with Gaussian noise sigma.

        The network's scale is [-1, 1], on which the noise is 2 sigma: sqrt((1 - abar_t) / abar_t) >= 2 sigma (Carlini
        et al., ICLR 2023). x_t then has slightly more noise than asked for, never less.
        """
        if not sigma > 0:
            raise HarnessError(f"sigma={sigma:g} is no noise level: give a positive number, such as 0.5.")
        with np.errstate(divide="ignore"):  # the last time of some schedules is nothing but noise
            noise = np.sqrt((1.0 - self.alpha_bar) / self.alpha_bar) / 2
        enough = np.flatnonzero((noise[1:] >= sigma) & np.isfinite(noise[1:]))
        if not len(enough):
            most = max((value for value in noise[1:] if np.isfinite(value)), default=0.0)
            remedy = f"give at most {np.floor(most * 1000) / 1000:.3f}" if most else "it has no time but 0"
            raise HarnessError(f"This diffusion model has no time with as much noise as sigma={sigma:g}: {remedy}.")
        return int(enough[0]) + 1


STEPS = 100_000
"""Largest number of a schedule's times; published schedules have up to 4,000."""


def check_steps(steps: Any) -> int:
    """The checked number of a schedule's times; raises HarnessError for other values, and for huge ones."""
    if not isinstance(steps, int) or not 1 <= steps <= STEPS:
        raise HarnessError(f"A noise schedule of {steps!r:.40} times: give a whole number from 1 to {STEPS:,}.")
    return steps


def linear(steps: int = 1000) -> Schedule:
    """Betas from 1e-4 to 0.02, scaled so that other lengths cover the same noise (Ho et al.; guided-diffusion)."""
    scale = 1000 / check_steps(steps)
    return Schedule(np.linspace(scale * 1e-4, scale * 0.02, steps), np.arange(steps))


def cosine(steps: int = 1000) -> Schedule:
    """Squared-cosine alpha_bar (Nichol & Dhariwal, ICML 2021, eq. 17), betas clipped at 0.999."""

    def level(t: Floats) -> Floats:
        return np.cos((t + 0.008) / 1.008 * np.pi / 2) ** 2

    edges = np.arange(check_steps(steps) + 1) / steps
    return Schedule(np.minimum(1.0 - level(edges[1:]) / level(edges[:-1]), 0.999), np.arange(steps))


SCHEDULES = {"linear": linear, "cosine": cosine}
"""Schedules by name, as functions of the number of steps."""

ROUNDING = 1e-4
"""Largest relative difference of the betas of one schedule, which some programs compute in float32."""


def name_of(schedule: Schedule) -> tuple[str, int] | None:
    """Name and number of times of a schedule; None for one without a name."""
    steps = len(schedule.betas)
    for name, build in SCHEDULES.items():
        if np.allclose(build(steps).betas, schedule.betas, rtol=ROUNDING, atol=0):
            return name, steps
    return None
