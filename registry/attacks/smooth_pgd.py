"""SmoothAdv, PGD on smoothed classifiers (Salman et al., NeurIPS 2019): a certificate must withstand it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from harness.attacks import projections, steps
from harness.attacks.ascent import Gradient, ascend
from harness.plugins import attack
from harness.types import GradientClassifier, HarnessError, Noise, ThreatModel


@attack("smooth-pgd")
@dataclass(frozen=True)
class SmoothPGD:
    """l2 PGD on the mean softmax under Gaussian noise, the smoothed classifier of randomized smoothing (eq. 5 and 6).

    sigma: standard deviation of the noise. draws: noise draws per step, fresh in each.
    """

    sigma: float = 0.25
    steps: int = 20
    draws: int = 8

    def __post_init__(self) -> None:
        if self.sigma < 0 or min(self.steps, self.draws) < 1:
            raise HarnessError(
                f"smooth-pgd: sigma={self.sigma} must not be negative, steps={self.steps} and draws={self.draws} at "
                "least 1."
            )

    def __call__(
        self, images: Tensor, labels: Tensor, classifier: GradientClassifier, noise: Noise, threat: ThreatModel
    ) -> Tensor:
        if threat.norm != "l2":
            raise HarnessError(f"smooth-pgd attacks within l2 balls, as certificates hold, not {threat.norm}: norm=l2.")

        def gradient(x: Tensor, step: int) -> Tensor:
            noisy = [x + self.sigma * noise(f"smooth-pgd/{step}/{draw}") for draw in range(self.draws)]
            log_p = [-F.cross_entropy(classifier(view), labels, reduction="none") for view in noisy]
            # The gradient of -log mean_m p_m is the mean of those of -log p_m, weighted by p_m / sum p.
            weights = torch.stack(log_p).softmax(0)
            total = torch.zeros_like(x)
            for view, weight in zip(noisy, weights, strict=True):
                total += classifier.gradient(view, _weighted_cross_entropy, labels, weight)[1]
            return total

        return climb(gradient, images, torch.full((len(images),), threat.eps), self.steps)


def _weighted_cross_entropy(logits: Tensor, labels: Tensor, weight: Tensor) -> Tensor:
    return weight * F.cross_entropy(logits, labels, reduction="none")


def climb(gradient: Gradient, images: Tensor, radius: Tensor, count: int) -> Tensor:
    """`count` steps of length 2 radius / count along the normalised gradient, in the l2 ball and in [0, 1]."""
    radius = radius.to(images)
    return ascend(
        gradient,
        images,
        torch.zeros_like(images),
        step=steps.l2,
        size=2 * radius / count,
        project=projections.l2,
        radius=radius,
        steps=count,
    )
