"""Guided generation of digits: guides and scales, judged by a classifier that took no part."""

from __future__ import annotations

from dataclasses import dataclass

from harness.plugins import suite
from harness.suites.bases.guided import GuidedGeneration


@suite("guidance", version=1, dataset="digits", denoiser="digits")
@dataclass(frozen=True)
class Guidance(GuidedGeneration):
    """Digits sampled under guides (Dhariwal & Nichol, NeurIPS 2021), as many as there are test digits, 25 DDIM steps.

    `guidance:steps=250,sampler=ancestral` is the check with the original's 250 steps.
    """

    models = ("digits/encoder+noisy", "digits/encoder+da", "digits/vit+diffaug")
    methods = ("none", "classifier", "classifier:scale=3", "classifier:scale=10", "denoised", "cfg:scale=2")
    judge: str = "digits/resnet"
    extractor: str = "digits/vit"
