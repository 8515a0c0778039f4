"""Steps of samplers: from a noisy image back towards a clean one, ancestral (Ho et al., NeurIPS 2020) and DDIM.

Everything is in the model's space, [-1, 1].
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from harness.diffusion.denoiser import Denoiser, at
from harness.diffusion.schedule import Schedule
from harness.types import HarnessError


def ancestral_step(schedule: Schedule, x: Tensor, position: int, x0: Tensor, v: Tensor | None, noise: Tensor) -> Tensor:
    """A sample of p(x_{t-1} | x_t), (B, C, H, W), given the prediction of x_0; without noise at position 0.

    v: the network's raw variance channel, or None.
    """
    index = torch.full((len(x),), position, device=x.device)
    mean = ancestral_mean(schedule, x, index, x0)
    return mean + (0.5 * log_variance(schedule, index, v)).exp() * noise if position else mean


def ancestral_mean(schedule: Schedule, x: Tensor, index: Tensor, x0: Tensor) -> Tensor:
    """Mean (B, C, H, W) of p(x_{t-1} | x_t), given the prediction of x_0."""
    of_x0, of_xt = schedule.posterior_mean
    return at(of_x0, index, x) * x0 + at(of_xt, index, x) * x


def log_variance(schedule: Schedule, index: Tensor, v: Tensor | None) -> Tensor:
    """Log variance of the ancestral step, (B, C, H, W) or (B, 1, 1, 1).

    The network's interpolation where it has one (Nichol & Dhariwal, 2021, eq. 15), else the posterior's.
    """
    low = at(schedule.posterior_log_variance, index, v)
    if v is None:
        return low
    share = (v + 1) / 2
    return share * at(np.log(schedule.betas), index, v) + (1 - share) * low


def ancestral_noise(schedule: Schedule, x: Tensor, index: Tensor, v: Tensor | None, kind: str) -> tuple[Tensor, Tensor]:
    """Variance and standard deviation of the ancestral step, each (B, C, H, W) or (B, 1, 1, 1).

    x: x_t (B, C, H, W), whose type the results have. kind: one of `harness.types.VARIANCES`. At index 0 the fixed
    small variance is zero; the others are not, so that a guide still moves the last mean.
    Raises HarnessError for a learned one that the network lacks.
    """
    if kind == "learned" and v is None:
        raise HarnessError("variance=learned: this diffusion model learned none. Give fixed_small or fixed_large.")
    if v is not None and kind in ("auto", "learned"):
        log = log_variance(schedule, index, v)
        return log.exp(), (0.5 * log).exp()
    table = schedule.posterior_variance
    if kind == "fixed_large":
        table = np.append(schedule.posterior_variance[1], schedule.betas[1:])
    return at(table, index, x), at(table**0.5, index, x)


def ddim_step(
    schedule: Schedule,
    x: Tensor,
    index: Tensor,
    x0: Tensor,
    gradient: Tensor | None,
    eta: float,
    noise: Callable[[], Tensor],
) -> Tensor:
    """Images at the next smaller index, (B, C, H, W) (Song et al., ICLR 2021, eq. 12).

    x0: the clipped prediction. gradient: of a guide, which shifts the noise that belongs to it (Dhariwal & Nichol,
    2021, algorithm 2); the image that follows is not clipped again. eta: see `harness.types.Sampling`.
    """
    abar, previous = schedule.alpha_bar, np.append(1.0, schedule.alpha_bar[:-1])
    of_xt, of_eps = at((1 / abar) ** 0.5, index, x), at((1 / abar - 1) ** 0.5, index, x)
    eps = (of_xt * x - x0) / of_eps
    if gradient is not None:
        eps = eps - at((1 - abar) ** 0.5, index, x) * gradient
        x0 = of_xt * x - of_eps * eps
    sigma = eta * np.sqrt((1 - previous) / (1 - abar)) * np.sqrt(1 - abar / previous)
    mean = at(previous**0.5, index, x) * x0 + at((1 - previous - sigma**2) ** 0.5, index, x) * eps
    return mean + at(sigma, index, x) * noise() if eta else mean


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
