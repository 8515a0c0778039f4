"""Guided generation of digits: guides and scales, judged by a classifier that took no part."""

from __future__ import annotations

from dataclasses import dataclass

from harness.plugins import suite
from harness.suites.bases.guided import GuidedGeneration


@suite("guidance", version=1, dataset="digits", denoiser="digits")
@dataclass(frozen=True)
class Guidance(GuidedGeneration):
    """Digits under guides (Dhariwal & Nichol, NeurIPS 2021), as many as there are test digits, 25 DDIM steps.

    DDIM with eta = 1: without noise, samples of this denoiser keep a tint of x_T, and distances see little else.
    `guidance:steps=250,sampler=ancestral` is the check with the original's 250 steps. A conditional denoiser
    (--denoiser digits-conditional) also takes the guide cfg.
    """

    models = ("digits/encoder+noisy", "digits/encoder+da", "digits/vit+diffaug")
    methods = ("none", "classifier", "classifier:scale=3", "classifier:scale=10", "denoised:scale=3")
    eta: float = 1.0
    judge: str = "digits/resnet"
    extractor: str = "digits/vit"
