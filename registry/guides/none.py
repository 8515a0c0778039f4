"""Sampling without a guide."""

from dataclasses import dataclass
from typing import Any

from harness.diffusion.guided import EVERY_TIME, BaseGuide
from harness.plugins import guide
from harness.types import HarnessError


@guide("none", inert=("scale", "interval"))
@dataclass(frozen=True)
class Unguided(BaseGuide):
    """The denoiser by itself; with conditional=true it is told the class."""

    def check(self, model: str, network: Any, denoiser: Any) -> None:
        super().check(model, network, denoiser)
        if self.scale != 1 or self.interval != EVERY_TIME:
            raise HarnessError("--guide none never steers: scale and interval decide nothing. Leave them out.")
