"""Sampling without a guide."""

from dataclasses import dataclass

from harness.diffusion.guided import BaseGuide
from harness.plugins import guide


@guide("none")
@dataclass(frozen=True)
class Unguided(BaseGuide):
    """The denoiser by itself; with conditional=true it is told the class."""
