"""The bundled diffusion model of the digits."""

from __future__ import annotations

from harness import weights
from harness.diffusion.denoiser import Denoiser
from harness.plugins import denoiser
from harness.types import Weights


@denoiser("digits", dataset="digits")
def digits() -> tuple[Denoiser, Weights]:
    """Unconditional UNet of the 32x32 digits, linear schedule, 1000 steps, trained on the training split only."""
    return weights.denoiser(*weights.bundled("digits-unet"))
