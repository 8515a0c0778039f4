"""A guide: what the sampler goes on from at each of its steps, towards the classes that are asked for."""

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from harness.diffusion.guided import GradientGuide, Guidance, SamplingStep
from harness.plugins import guide
from harness.types import HarnessError


@guide("my-name", classifier=True)
@dataclass(frozen=True)
class MyName(GradientGuide):
    """Gradient of log p(y | x0_hat) by x_t, through the denoiser, of a classifier at a temperature."""

    # Settings are fields; every guide has scale, interval and conditional: --guide my-name:scale=3,temperature=2.
    temperature: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.temperature <= 0:
            raise HarnessError(f"temperature={self.temperature:g} of the guide my-name must be positive.")

    def differentiates_denoiser(self, network: Any) -> bool:
        # True costs a backward pass of the denoiser per step.
        return True

    def log_probability(self, step: SamplingStep, prediction: Guidance, network: Any) -> Tensor:  # (B,)
        # The base class takes the gradient by step.x_t and scales it. Rows must not depend on each other.
        logits = network(step.x0_hat(prediction))
        return step.log_probability(logits / self.temperature)
