"""Ancestral sampling: from a noisy image back towards a clean one, step by step (Ho et al., NeurIPS 2020, algorithm 2).

Everything is in the model's space, [-1, 1].
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from harness.diffusion.denoiser import Denoiser, at
from harness.diffusion.schedule import Schedule


def ancestral_step(schedule: Schedule, x: Tensor, position: int, x0: Tensor, v: Tensor | None, noise: Tensor) -> Tensor:
    """A sample of p(x_{t-1} | x_t), (B, C, H, W), given the prediction of x_0; without noise at position 0.

    v: the network's raw variance channel, or None.
    """
    index = torch.full((len(x),), position, device=x.device)
    of_x0, of_xt = schedule.posterior_mean
    mean = at(of_x0, index) * x0 + at(of_xt, index) * x
    return mean + (0.5 * log_variance(schedule, index, v)).exp() * noise if position else mean


def log_variance(schedule: Schedule, index: Tensor, v: Tensor | None) -> Tensor:
    """Log variance of the ancestral step, (B, C, H, W) or (B, 1, 1, 1).

    The network's interpolation where it has one (Nichol & Dhariwal, 2021, eq. 15), else the posterior's.
    """
    low = at(schedule.posterior_log_variance, index)
    if v is None:
        return low
    share = (v + 1) / 2
    return share * at(np.log(schedule.betas), index) + (1 - share) * low


def reverse(denoiser: Denoiser, x: Tensor, time: int, steps: int, noise: Callable[[int], Tensor]) -> Tensor:
    """A sample of the image behind x_t, (B, 3, H, W) in [0, 1], in `steps` network calls evenly spaced from t to 0.

    noise: standard normal (B, 3, H, W) of a step, counted from 0 at t.
    """
    schedule = denoiser.schedule.at(np.unique(np.linspace(0, time, steps + 1)[1:].round().astype(int)))
    for step, position in enumerate(reversed(range(len(schedule.betas)))):
        index = torch.full((len(x),), position, device=x.device)
        x0, v = denoiser.predict(schedule, x, index)
        eps = noise(step) if position else torch.zeros_like(x)
        x = ancestral_step(schedule, x, position, x0, v, eps)
    return ((x + 1) / 2).clamp(0, 1)
