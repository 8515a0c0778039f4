"""Projections onto the set that a threat model allows: a ball around the image, and the box of images, [0, 1].

delta: displacements (B, ...) from the clean images. radius: one for all images, or (B,).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from harness.attacks.norms import SMALLEST, l2_norm, per_image

Projection = Callable[[Tensor, float | Tensor], Tensor]
"""From a displacement (B, ...) and a radius, one for all or (B,), to the nearest displacement in the ball."""


def linf(delta: Tensor, radius: float | Tensor) -> Tensor:
    """Nearest displacement with no pixel larger than `radius` in magnitude."""
    reach = torch.as_tensor(per_image(radius, delta), dtype=delta.dtype, device=delta.device)
    return torch.minimum(torch.maximum(delta, -reach), reach)


def l2(delta: Tensor, radius: float | Tensor) -> Tensor:
    """Nearest displacement of Euclidean norm at most `radius`: shortened where it is longer."""
    return delta * (per_image(radius, delta) / l2_norm(delta).clamp(min=SMALLEST)).clamp(max=1)


def box(images: Tensor, delta: Tensor) -> Tensor:
    """Nearest displacement for which ``images + delta`` lies in [0, 1]; `images` lie there.

    Every coordinate only shrinks, so a displacement in an lp ball stays in it.
    """
    return (images + delta).clamp(0, 1) - images
