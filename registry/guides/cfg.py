"""Classifier-free guidance (Ho & Salimans, 2022)."""

from dataclasses import dataclass
from typing import Any

import torch

from harness.diffusion.guided import BaseGuide, Guidance, SamplingStep
from harness.plugins import guide
from harness.types import HarnessError


@guide("cfg", conditional=True, inert=("conditional",))
@dataclass(frozen=True)
class ClassifierFreeGuidance(BaseGuide):
    """eps_u + scale (eps_c - eps_u) of a denoiser with label dropout; scale 1 samples the class without more."""

    @property
    def steers(self) -> bool:
        return self.scale != 0

    def check(self, model: str, network: Any, denoiser: Any) -> None:
        if self.conditional:
            raise HarnessError("--guide cfg always tells the class: conditional=true decides nothing. Leave it out.")
        if not (denoiser.conditional and denoiser.unconditional):
            raise HarnessError(
                "--guide cfg needs a denoiser that predicts with and without a class: one of harness train "
                "--architecture unet-conditional --label-dropout 0.1."
            )

    def __call__(self, step: SamplingStep, network: Any) -> Guidance:
        if self.scale == 1 or not self.acts(step):
            return step.predict(step.labels)
        conditional, unconditional = step.predict_both()
        noise = torch.lerp(unconditional.noise, conditional.noise, self.scale)
        return Guidance(noise, conditional.variance)
