"""Randomized smoothing in its first form (Cohen et al., ICML 2019)."""

from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor

from harness.plugins import smoother
from harness.types import Noise


@smoother("gaussian")
@dataclass(frozen=True)
class Gaussian:
    """The classifier on the noisy image: x + sigma eps, in [0, 1] units, never clipped."""

    votes: ClassVar[int] = 1
    calls: ClassVar[int] = 0

    def __call__(self, images: Tensor, sigma: float, denoiser: Any, noise: Noise, vote: int) -> Tensor:
        return images + sigma * noise("image")
