"""Adversarial attacks and the perturbations that they may make."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from harness.base.errors import HarnessError

if TYPE_CHECKING:
    from torch import Tensor

    from harness.types.methods import GradientClassifier, Noise

NORMS = ("linf", "l2")
"""Norms of threat models, as settings name them."""


@dataclass(frozen=True)
class ThreatModel:
    """Perturbations that an attack may make: those of norm at most eps whose result is an image in [0, 1].

    norm: linf, the largest change of a pixel's channel, or l2, the Euclidean length over all of them.
    eps: radius of the ball, for images in [0, 1].
    """

    norm: str = "linf"
    eps: float = 8 / 255

    def __post_init__(self) -> None:
        if self.norm not in NORMS:
            raise HarnessError(f"norm={self.norm!r} must be one of {', '.join(NORMS)}.")
        if not (math.isfinite(self.eps) and self.eps >= 0):
            raise HarnessError(f"eps={self.eps:g} must be a number, at least 0.")
        if self.norm == "linf" and self.eps > 1:
            raise HarnessError(
                f"eps={self.eps:g} is larger than any change of a pixel: images lie in [0, 1]. "
                f"On that scale {self.eps:g} of 255 is eps={self.eps:g}/255."
            )

    def __str__(self) -> str:
        grid = 255 * self.eps
        is_whole = self.norm == "linf" and math.isclose(grid, round(grid)) and self.eps > 0
        shown = f"{round(grid)}/255" if is_whole else f"{self.eps:g}"
        return f"{self.norm} {shown}"


class Attack(Protocol):
    """An adversarial attack: images and their labels to images that the classifier takes for something else.

    Attributes that may be missing:

    members: an ensemble's attacks by name, in their order; each sees the images that those before it left correct. An
        ensemble is never called itself.
    minimal: true if it looks for the smallest perturbation, which may be larger than the threat model's. False if it
        is missing.
    draws: fresh noise draws of a stochastic defence that each step averages; 0, or none, if the attack sees the noise
        of the evaluation.
    sigma: standard deviation of the Gaussian noise that it adds itself, because it attacks smoothed classifiers.
    """

    def __call__(
        self, images: Tensor, labels: Tensor, classifier: GradientClassifier, noise: Noise, threat: ThreatModel, /
    ) -> Tensor:
        """Adversarial images (B, 3, H, W) in [0, 1], each within the threat model around its image.

        images: (B, 3, H, W) in [0, 1]. labels: (B,) int64. noise: keyed by the sample, so that random starts are the
        same at any batch size; other purposes are independent.
        """
