"""Guidance by a plain classifier that looks at the denoised image (Bansal et al., CVPR 2023 workshops)."""

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from harness.diffusion.guided import GradientGuide, Guidance, SamplingStep
from harness.plugins import guide


@guide("denoised", classifier=True)
@dataclass(frozen=True)
class DenoisedGuidance(GradientGuide):
    """Gradient of log p(y | x0_hat) by x_t, through the denoiser, of any classifier."""

    def differentiates_denoiser(self, network: Any) -> bool:
        return True

    def log_probability(self, step: SamplingStep, prediction: Guidance, network: Any) -> Tensor:
        return step.log_probability(network(step.x0_hat(prediction)))
