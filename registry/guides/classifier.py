"""Classifier guidance (Dhariwal & Nichol, NeurIPS 2021), by noisy and by denoising-assisted classifiers."""

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from harness.diffusion.guided import GradientGuide, Guidance, SamplingStep
from harness.diffusion.schedule import name_of
from harness.plugins import guide
from harness.types import HarnessError, NoisyClassifier, times_for

WAYS = ("total", "partial")
"""Derivatives of a denoising-assisted classifier: through the denoiser, as its authors credit, or not."""


@guide("classifier", classifier=True)
@dataclass(frozen=True)
class ClassifierGuidance(GradientGuide):
    """Gradient of log p(y | x_t) of a classifier that knows the time; through=partial leaves the denoiser out."""

    through: str = "total"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.through not in WAYS:
            raise HarnessError(f"through={self.through!r} of the guide classifier must be one of {', '.join(WAYS)}.")

    def check(self, model: str, network: Any, denoiser: Any) -> None:
        super().check(model, network, denoiser)
        if not isinstance(network, NoisyClassifier):
            raise HarnessError(
                f"{model} knows no diffusion time, which --guide classifier needs. Take --guide denoised, or a "
                "classifier of harness train --architecture encoder --objective da."
            )
        trained, sampled = getattr(network, "noise_schedule", None), name_of(denoiser.schedule)
        if trained and sampled and tuple(trained) != sampled:
            raise HarnessError(
                f"{model} was trained with the noise schedule {_words(trained)}, this denoiser has {_words(sampled)}. "
                "Take a denoiser of the same schedule, or train a classifier with this one: harness train --diffusion."
            )
        if self.through != "total" and not network.denoised:
            raise HarnessError(
                f"{model} sees no denoised image: through={self.through} of --guide classifier decides nothing. Leave "
                "it out, or name a denoising-assisted classifier."
            )

    def differentiates_denoiser(self, network: Any) -> bool:
        return self.through == "total" and network.denoised

    def log_probability(self, step: SamplingStep, prediction: Guidance, network: NoisyClassifier) -> Tensor:
        x0_hat = step.x0_hat(prediction) if network.denoised else None
        return step.log_probability(network.noisy(step.x_t, x0_hat, times_for(network, step)))


def _words(schedule: tuple[str, int]) -> str:
    """A schedule's name and length in words."""
    name, steps = schedule
    return f"{name} of {steps:,} times"
