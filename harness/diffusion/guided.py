"""Guided sampling: from noise to images of a class, with one call of the denoiser per step.

Classifier guidance is that of Dhariwal & Nichol (NeurIPS 2021, algorithms 1 and 2), with the details of the authors'
code. Everything is in the model's space, [-1, 1].
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from harness.diffusion.denoiser import Denoiser
from harness.diffusion.log_probability import log_probability
from harness.diffusion.sampling import ancestral_mean, ancestral_noise, ddim_step
from harness.diffusion.schedule import Schedule
from harness.types import Guide, HarnessError, Sampling, check_scale

EVERY_TIME = (0, 10**6)
"""The interval of a guide that acts at all times; schedules have thousands."""


@dataclass(frozen=True, eq=False)
class Guidance:
    """Prediction and gradient that a step goes on from.

    noise: the predicted noise (B, 3, H, W). variance: the network's raw variance channel, or None.
    gradient: scale times the gradient of the log-probability by x_t, (B, 3, H, W); None without guidance.
    """

    noise: Tensor
    variance: Tensor | None
    gradient: Tensor | None = None


class SamplingStep:
    """One step of the sampler as guides see it.

    x_t: (B, 3, H, W) in the model's space, a leaf that requires a gradient.
    time: t, an index of the denoiser's own schedule. t: the same for every row, (B,) int64.
    labels: (B,) int64, the classes asked for.
    schedule: of the sampler's times, in which this one is at `position`; index: the position for every row, (B,) int64.
    """

    def __init__(
        self, denoiser: Denoiser, schedule: Schedule, position: int, time: int, x: Tensor, labels: Tensor
    ) -> None:
        self.x_t = x.detach().requires_grad_()
        self.time = time
        self.t = self.times = torch.full((len(x),), time, device=x.device)
        self.labels = labels
        self.position = position
        self.schedule = schedule
        self.index = torch.full((len(x),), position, device=x.device)
        self._denoiser = denoiser

    @property
    def network_times(self) -> Tensor:
        """The times of the denoiser's network, (B,): t for every row, or t scaled to 1000 (`Schedule.rescaled`)."""
        return self.schedule.network_times(self.index)

    def predict(self, labels: Tensor | None, differentiable: bool = False) -> Guidance:
        """The denoiser's prediction: one call. labels: classes that it is told, or None.

        differentiable: gradients flow through it to `x_t`.
        """
        with torch.set_grad_enabled(differentiable):
            return Guidance(*self._denoiser.predict_noise(self.x_t, self.index, self.schedule, labels))

    def predict_both(self) -> tuple[Guidance, Guidance]:
        """The prediction for the classes asked for, and that for none: one call of twice the rows."""
        none = torch.full_like(self.labels, -1 if self._denoiser.null_label is None else self._denoiser.null_label)
        x, index = self.x_t.detach().repeat(2, 1, 1, 1), self.index.repeat(2)
        noise, v = self._denoiser.predict_noise(x, index, self.schedule, torch.cat([self.labels, none]))
        halves = zip(noise.chunk(2), v.chunk(2) if v is not None else (None, None), strict=True)
        conditional, unconditional = (Guidance(*half) for half in halves)
        return conditional, unconditional

    def x0_hat(self, prediction: Guidance) -> Tensor:
        """The clipped one-step denoised image (B, 3, H, W) in [0, 1] of a prediction."""
        with torch.set_grad_enabled(prediction.noise.requires_grad):
            return (self._denoiser.x0(self.schedule, self.x_t, self.index, prediction.noise) + 1) / 2

    def log_probability(self, logits: Tensor) -> Tensor:
        """Log-probability (B,) of the classes asked for."""
        return log_probability(logits, self.labels)


@dataclass(frozen=True)
class BaseGuide:
    """Settings of every guide; by itself it does not steer.

    scale, interval: see `harness.types.Guide`.
    conditional: the denoiser is told the class as well, as in ADM-G; for denoisers that take one.
    """

    scale: float = 1.0
    interval: tuple[int, ...] = EVERY_TIME
    conditional: bool = False

    def __post_init__(self) -> None:
        check_scale(self.scale, self.interval)

    @property
    def steers(self) -> bool:
        """See `harness.types.Guide`."""
        return self.conditional

    def acts(self, step: SamplingStep) -> bool:
        """True if the step's time lies within the interval."""
        return self.interval[0] <= step.time < self.interval[1]

    def check(self, model: str, network: Any, denoiser: Denoiser) -> None:
        """See `harness.types.Guide`."""
        if self.conditional and not denoiser.conditional:
            raise HarnessError(
                f"{self._name} needs a denoiser that takes the class; this takes none. Leave conditional=true out, or "
                "name a class-conditional denoiser."
            )
        if not self.conditional and not denoiser.unconditional:
            raise HarnessError(
                f"This denoiser needs the class: give the guide {self._name} the setting conditional=true."
            )

    @property
    def _name(self) -> str:
        from harness import plugins

        return plugins.guide.text_of(self) or type(self).__name__

    def shown(self, step: SamplingStep) -> Tensor | None:
        """Labels that the denoiser is told."""
        return step.labels if self.conditional else None

    def __call__(self, step: SamplingStep, network: Any) -> Guidance:
        """The denoiser's own prediction."""
        return step.predict(self.shown(step))


class GradientGuide(BaseGuide):
    """A guide along the gradient of a log-probability by x_t; a subclass gives `log_probability`."""

    @property
    def steers(self) -> bool:
        """See `harness.types.Guide`."""
        return self.conditional or self.scale != 0

    def differentiates_denoiser(self, network: Any) -> bool:
        """True if the gradient flows through the denoiser, which costs a backward pass of it."""
        raise NotImplementedError

    def log_probability(self, step: SamplingStep, prediction: Guidance, network: Any) -> Tensor:
        """Log-probability (B,) of the classes asked for, differentiable by ``step.x_t``."""
        raise NotImplementedError

    def __call__(self, step: SamplingStep, network: Any) -> Guidance:
        """The denoiser's prediction, and the scaled gradient."""
        if not self.acts(step):
            return super().__call__(step, network)
        with torch.enable_grad():
            prediction = step.predict(self.shown(step), self.differentiates_denoiser(network))
            score = self.log_probability(step, prediction, network)
            (gradient,) = torch.autograd.grad(score.sum(), step.x_t)
        variance = prediction.variance
        return Guidance(
            prediction.noise.detach(), None if variance is None else variance.detach(), self.scale * gradient.detach()
        )


def trajectory(
    denoiser: Denoiser,
    guide: Guide,
    network: Any,
    x: Tensor,
    labels: Tensor,
    settings: Sampling,
    draw: Callable[[int], Tensor],
) -> Iterator[Tensor]:
    """x_t (B, 3, H, W) in the model's space after each step, the last one the samples.

    x: noise at the largest time, (B, 3, H, W). labels: (B,) int64, classes asked for. network: the guide's classifier.
    draw: standard normal noise (B, 3, H, W) of a step, counted from 0 at the largest time; asked for where it is used.
    """
    times = denoiser.schedule.spaced(settings.steps)
    schedule = denoiser.schedule.at(times)
    for number, position in enumerate(reversed(range(len(times)))):
        step = SamplingStep(denoiser, schedule, position, times[position], x, labels)
        x = advance(step, guide, network, settings, partial(draw, number))
        yield x


@torch.no_grad()
def advance(step: SamplingStep, guide: Guide, network: Any, settings: Sampling, noise: Callable[[], Tensor]) -> Tensor:
    """x_{t-1} (B, 3, H, W) from the step at x_t. noise: draws the step's; called where it is used."""
    guidance = guide(step, network)
    schedule, index, x = step.schedule, step.index, step.x_t.detach()
    x0 = Denoiser.x0(schedule, x, index, guidance.noise)
    if settings.sampler == "ddim":
        return ddim_step(schedule, x, index, x0, guidance.gradient, settings.eta if step.position else 0.0, noise)
    variance, deviation = ancestral_noise(schedule, x, index, guidance.variance, settings.variance)
    mean = ancestral_mean(schedule, x, index, x0)
    if guidance.gradient is not None:
        mean = mean + variance * guidance.gradient
    return mean + deviation * noise() if step.position else mean


def pixels(x: Tensor) -> Tensor:
    """Samples in the model's space as uint8, truncated as guided-diffusion does: (x + 1) * 127.5."""
    return ((x + 1) * 127.5).clamp(0, 255).to(torch.uint8)


def sample_noise(shape: Sequence[int], seed: int, ids: Sequence[str], step: int | None) -> Tensor:
    """Noise (B, *shape) keyed by (seed, sample id, step); with None the start x_T. The same for every guide."""
    from harness.base import noise

    purpose = "generate/start" if step is None else "generate/step"
    return noise.gaussian(shape, seed=seed, purpose=purpose, samples=ids, draw=step or 0)
