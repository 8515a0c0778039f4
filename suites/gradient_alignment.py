"""Alignment of classifiers' gradients at diffused digits."""

from __future__ import annotations

from dataclasses import dataclass

from harness.evaluation.views.diffused_gradients import KINDS
from harness.plugins import suite
from harness.suites.bases.gradients.alignment import GAUSSIAN, Alignment


@suite("gradient-alignment", version=1, dataset="digits", denoiser="digits", every=10)
@dataclass(frozen=True)
class GradientAlignment(Alignment):
    """Alignment of gradients of log p(y) at diffused digits, on every tenth test digit unless --every says otherwise.

    Sastry et al., NeurIPS 2024, section 4: gradients through the denoiser look like the class. The judge was trained
    without DiffAug.
    """

    times: tuple[int, ...] = (300, 500, 700)
    kinds: tuple[str, ...] = KINDS
    target: str = GAUSSIAN
    judge: str = "digits/resnet+augmix+deepaugment"
    step: float = 1.0
    control: int = 0
