"""The denoiser: the only place that knows that a diffusion model sees [-1, 1] and what alpha_bar is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from harness.diffusion.schedule import Floats, Schedule
from harness.types import HarnessError


def at(table: Floats, index: Tensor) -> Tensor:
    """Entries of a float64 table as float32, (B, 1, 1, 1), ready to multiply images."""
    return torch.from_numpy(table).float().to(index.device)[index][:, None, None, None]


@dataclass(frozen=True, eq=False)
class Denoiser:
    """A noise-prediction network with its schedule.

    network: (x_t, times) to (B, 3 or 6, H, W); six channels are noise and variance interpolation (learned sigma).
    Inputs and outputs of the public methods are images in [0, 1]; x_t is in the model's space, around [-1, 1].
    """

    network: nn.Module
    schedule: Schedule

    def check_times(self, times: Tensor | tuple[int, ...]) -> None:
        """Raises HarnessError for a time outside the schedule."""
        last = len(self.schedule.betas) - 1
        for t in [int(t) for t in times]:
            if not 0 <= t <= last:
                raise HarnessError(f"Diffusion time {t} lies outside this denoiser's schedule (0 to {last}).")

    def diffuse(self, images: Tensor, t: Tensor, noise: Tensor) -> Tensor:
        """x_t = sqrt(abar_t) x_0 + sqrt(1 - abar_t) noise (Ho et al., 2020, eq. 4); `t` is (B,) int64."""
        abar = self.schedule.alpha_bar
        return at(abar**0.5, t) * (images * 2 - 1) + at((1 - abar) ** 0.5, t) * noise

    def predict_x0(self, x_t: Tensor, t: Tensor) -> Tensor:
        """One reverse step to the image: clip((x_t - sqrt(1 - abar) eps) / sqrt(abar), -1, 1), in [0, 1].

        t: (B,) int64, indices of the schedule, as everywhere but in `predict_noise`.
        """
        return (self.predict(self.schedule, x_t, t)[0] + 1) / 2

    def predict(self, schedule: Schedule, x_t: Tensor, index: Tensor) -> tuple[Tensor, Tensor | None]:
        """The clipped prediction of x_0 in [-1, 1] at indices of `schedule`, and the raw variance channel or None.

        schedule: the denoiser's own or one that sees the same process at fewer times. The one place where an index
        becomes the network's own time.
        """
        noise, v = self.predict_noise(x_t, torch.from_numpy(schedule.times).to(index.device)[index])
        return self.x0(schedule, x_t, index, noise), v

    def predict_noise(self, x_t: Tensor, times: Tensor) -> tuple[Tensor, Tensor | None]:
        """The network's noise and, where it has one, its raw variance channel v; float32 whatever the autocast.

        times: (B,), the network's own, which are no indices: see `Schedule`.
        """
        out = cast(Tensor, self.network(x_t, times, return_dict=False)[0]).float()
        return (out, None) if out.shape[1] == 3 else (out[:, :3], out[:, 3:])

    @staticmethod
    def x0(schedule: Schedule, x_t: Tensor, index: Tensor, noise: Tensor) -> Tensor:
        """The clipped prediction of x_0 in [-1, 1] at an index of `schedule`."""
        abar = schedule.alpha_bar
        return (at((1 / abar) ** 0.5, index) * x_t - at((1 / abar - 1) ** 0.5, index) * noise).clamp(-1, 1)
