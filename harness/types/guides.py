"""Guided sampling: the settings of a sampler, and guides that steer it."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any, Protocol

from harness.base.errors import HarnessError

SAMPLERS = ("ddim", "ancestral")
"""Samplers by name: Song et al., ICLR 2021, and Ho et al., NeurIPS 2020."""

NO_CLASSIFIER = "none"
"""Name of the model in rows whose guide asks no classifier: those of guides without ``classifier=True``."""

VARIANCES = ("auto", "learned", "fixed_small", "fixed_large")
"""Variances of the ancestral sampler; "auto" is the learned one where the network has it, else fixed_small."""

USUAL_STEPS = {"ddim": "ddim25", "ancestral": "250"}
"""Usual steps of each sampler, those of guided-diffusion's documentation."""


@dataclass(frozen=True)
class Sampling:
    """Settings of a sampler, as guided-diffusion has them; the defaults are its 25 steps of DDIM.

    sampler: "ddim" or "ancestral".
    steps: "250" for as many times at a fractional stride, first and last included; "ddim25" at a whole stride from 0.
    eta: noise of DDIM, from 0 (none) to 1 (as much as the ancestral sampler).
    variance: of the ancestral sampler, see `VARIANCES`.
    """

    sampler: str = "ddim"
    steps: str = "ddim25"
    eta: float = 0.0
    variance: str = "auto"

    def __post_init__(self) -> None:
        if self.sampler not in SAMPLERS:
            raise HarnessError(f"sampler={self.sampler!r} must be one of {', '.join(SAMPLERS)}.")
        if self.variance not in VARIANCES:
            raise HarnessError(f"variance={self.variance!r} must be one of {', '.join(VARIANCES)}.")
        if not re.fullmatch(r"(ddim)?[1-9]\d{0,5}", self.steps):
            raise HarnessError(f"steps={self.steps!r}: give a number such as 250, or one with a whole stride, ddim25.")
        if self.count < 2:
            raise HarnessError(f"steps={self.steps}: one step would start from noise at t = 0. Give 2 or more.")
        if not 0 <= self.eta <= 1:
            raise HarnessError(f"eta={self.eta:g} must lie between 0 and 1.")

    @property
    def count(self) -> int:
        """Number of steps, and so of the denoiser's calls per sample."""
        return int(self.steps.removeprefix("ddim"))


class Guide(Protocol):
    """Steers sampling towards a class. One call of the denoiser per step serves the guide and the sampler.

    A guide is declared with ``@guide(name, classifier=True)`` if it asks a classifier, with ``conditional=True`` if it
    needs a denoiser that takes the class. Its base
    `harness.diffusion.guided.BaseGuide` has settings that all share.

    scale: strength of the guidance; finite.
    interval: times low <= t < high at which it acts (Kynkaanniemi et al., 2024).
    """

    scale: float
    interval: tuple[int, ...]

    @property
    def steers(self) -> bool:
        """True if a sample depends on the class asked for."""

    def check(self, model: str, network: Any, denoiser: Any) -> None:
        """Raise HarnessError for a classifier or a denoiser that this guide cannot work with.

        model: name of the classifier in messages. network: the classifier, None for a guide that asks none.
        """

    def __call__(self, step: Any, network: Any, /) -> Any:
        """The prediction that the sampler goes on from, and a gradient or none: `harness.diffusion.guided.Guidance`.

        step: the step as guides see it, `harness.diffusion.guided.SamplingStep`.
        network: images in [0, 1] to logits, or a `harness.types.NoisyClassifier`; differentiable, on the device.
        """


def check_scale(scale: float, interval: tuple[int, ...]) -> None:
    """Raise HarnessError for a scale that is no finite number, and for an interval without times."""
    if not math.isfinite(scale):
        raise HarnessError(f"scale={scale} of a guide must be a finite number, such as 1.")
    if len(interval) != 2 or not 0 <= interval[0] < interval[1]:
        raise HarnessError(f"interval={','.join(map(str, interval))} of a guide: give two times, such as 200,800.")
