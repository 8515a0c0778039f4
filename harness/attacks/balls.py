"""Balls of threat models: what an ascent needs to know of a norm."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from harness.attacks import norms, projections, steps
from harness.attacks.projections import Projection
from harness.attacks.steps import StepRule


@dataclass(frozen=True)
class Ball:
    """Steepest ascent under a norm, the projection onto its ball, and random starts.

    start: from standard normal noise (B, ...) to displacements in the unit ball.
    """

    step: StepRule
    project: Projection
    start: Callable[[Tensor], Tensor]


def _uniform(noise: Tensor) -> Tensor:
    """Uniform on [-1, 1] in every pixel: the normal distribution function of the noise."""
    return 2 * torch.special.ndtr(noise) - 1


def _direction(noise: Tensor) -> Tensor:
    """A uniform direction of norm 1, as the robustness library of Madry's group starts.

    In l2 balls of so many dimensions nearly all of the volume lies that far out.
    """
    return noise / norms.l2_norm(noise)


BALLS: Mapping[str, Ball] = {
    "linf": Ball(steps.linf, projections.linf, _uniform),
    "l2": Ball(steps.l2, projections.l2, _direction),
}
"""By norm, as `harness.types.ThreatModel` names it."""
