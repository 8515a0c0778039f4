"""DiffAug's reverse step: from x_t to a clean image in one go, by DDIM or DPM-Solver-2, with or without a class."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from harness.diffusion.denoiser import Denoiser, at
from harness.types import HarnessError

SAMPLERS = ("ddim", "dpm2")
"""Names of the reverse steps; see `Reverse`."""


def check_times(denoiser: Denoiser, times: tuple[int, int]) -> None:
    """Raises HarnessError where there is no time in the half-open interval, or one that the denoiser does not know."""
    (low, high), last = times, len(denoiser.schedule.betas)
    if not 0 <= low < high <= last:
        raise HarnessError(f"--diffaug-times {low},{high}: give two numbers with 0 <= first < second <= {last}.")


@dataclass(frozen=True, eq=False)
class Reverse:
    """Diffuses images to times t and takes one reverse step to an image again.

    sampler: "ddim", the prediction of x_0 from x_t (Song et al., ICLR 2021; the paper's choice), one network call;
        "dpm2", a step of DPM-Solver-2 down to index 0 (Lu et al., NeurIPS 2022, algorithm 1), two calls. It is the
        better one for short steps only; from large times it overshoots.
    conditional, weight: a class-conditional network, mixed into the noise prediction with weight lambda:
        (1 - lambda) eps(x_t, t) + lambda eps(x_t, t, y), the paper's ablation. Both networks share the schedule.
    """

    denoiser: Denoiser
    sampler: str = "ddim"
    conditional: Denoiser | None = None
    weight: float = 0.0

    def __post_init__(self) -> None:
        if self.sampler not in SAMPLERS:
            raise HarnessError(f"--diffaug-sampler {self.sampler!r} must be one of {', '.join(SAMPLERS)}.")
        if not 0 <= self.weight <= 1:
            raise HarnessError(f"--conditional-weight {self.weight} must lie in [0, 1].")
        if self.conditional and not np.array_equal(self.conditional.schedule.betas, self.denoiser.schedule.betas):
            raise HarnessError("The conditional denoiser of --conditional has another noise schedule than --diffusion.")

    def __call__(self, images: Tensor, t: Tensor, noise: Tensor, labels: Tensor) -> Tensor:
        """Images (B, 3, H, W) in [0, 1], times (B,) int64, noise like the images, labels (B,): images in [0, 1]."""
        x_t = self.denoiser.diffuse(images, t, noise)
        eps = self._noise(x_t, t, labels)
        if self.sampler == "dpm2":
            eps = self._second_order(x_t, t, eps, labels)
        return (self.denoiser.x0(self.denoiser.schedule, x_t, t, eps) + 1) / 2

    def _noise(self, x: Tensor, t: Tensor, labels: Tensor) -> Tensor:
        if not self.conditional or not self.weight:
            return self.denoiser.predict_noise(x, t)[0]
        for_class, _ = self.conditional.predict_noise(x, t, labels=labels)
        if self.weight == 1:
            return for_class
        return torch.lerp(self.denoiser.predict_noise(x, t)[0], for_class, self.weight)

    @cached_property
    def _half_log_snr(self) -> np.ndarray:
        """lambda_t = log(alpha_t / sigma_t), falling with t."""
        abar = self.denoiser.schedule.alpha_bar
        return 0.5 * np.log(abar / (1 - abar))

    def _second_order(self, x: Tensor, t: Tensor, eps: Tensor, labels: Tensor) -> Tensor:
        """The noise with which a DDIM step from t to index 0 is DPM-Solver-2's: eps + (eps_m - eps) / 2r.

        m is the index nearest to the middle in lambda, r its place between t (0) and index 0 (1); r = 1/2 in the paper.
        """
        lam, abar = self._half_log_snr, self.denoiser.schedule.alpha_bar
        steps = t.cpu().numpy()
        middle = (lam[steps] + lam[0]) / 2
        m = np.abs(lam[None, :] - middle[:, None]).argmin(1)
        span = lam[0] - lam[steps]
        r = np.divide(lam[m] - lam[steps], span, out=np.full(len(span), 0.5), where=m < steps)
        to_m = torch.from_numpy(m).to(t.device)
        x0 = (x - at((1 - abar) ** 0.5, t) * eps) / at(abar**0.5, t)
        x_m = at(abar**0.5, to_m) * x0 + at((1 - abar) ** 0.5, to_m) * eps
        half = torch.from_numpy(0.5 / r).float().to(x.device)[:, None, None, None]
        return eps + half * (self._noise(x_m, to_m, labels) - eps)
