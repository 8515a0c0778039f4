"""The bundled diffusion model of the digits."""

from __future__ import annotations

from harness.diffusion.denoiser import Denoiser
from harness.diffusion.lookup import load_denoiser
from harness.models.lookup import bundled
from harness.plugins import denoiser
from harness.types import Weights


@denoiser("digits", dataset="digits", eta=1.0)  # without noise in DDIM, samples keep a tint of x_T
def digits() -> tuple[Denoiser, Weights]:
    """Unconditional UNet of the 32x32 digits, linear schedule, 1000 steps, trained on the training split only."""
    return load_denoiser(*bundled("digits-unet"))
