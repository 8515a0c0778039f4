"""Projected gradient ascent: the loop that PGD attacks share."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from harness.attacks import projections
from harness.attacks.projections import Projection
from harness.attacks.steps import StepRule

Gradient = Callable[[Tensor, int], Tensor]
"""Gradient (B, ...) of the loss at images (B, ...), in the step of this number."""


def ascend(
    gradient: Gradient,
    images: Tensor,
    start: Tensor,
    *,
    step: StepRule,
    size: float | Tensor,
    project: Projection,
    radius: float | Tensor,
    steps: int,
) -> Tensor:
    """Images (B, 3, H, W) in [0, 1] after `steps` of x <- P(x + step) (Madry et al., ICLR 2018, section 2.1, PGD).

    P projects onto [0, 1] first and onto the ball around `images` second, as the code of Wang et al. (ICML 2023) does.
    The second never leaves [0, 1] again, as it moves towards an image that lies there.
    images: (B, 3, H, W) in [0, 1]. start: displacement (B, 3, H, W) from which the ascent sets out.
    size, radius: length of a step and radius of the ball, one for all images or (B,).
    """
    delta = start
    for number in range(steps):
        ascent = gradient(images + delta, number)
        with torch.no_grad():
            delta = projections.box(images, delta + step(ascent, size))
            delta = project(delta, radius)
    return (images + delta).detach().clamp(0, 1)
