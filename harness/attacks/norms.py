"""Values per image beside images: broadcasting and norms, the same bits whatever images stand beside."""

from __future__ import annotations

import torch
from torch import Tensor

SMALLEST = 1e-12
"""Norm below which a vector counts as zero: it is divided by this instead."""


def per_image(values: float | Tensor, images: Tensor) -> float | Tensor:
    """One value for all images, or values (B,) shaped (B, 1, ...) to multiply images (B, ...)."""
    return values if isinstance(values, float | int) else values.to(images).reshape(-1, *[1] * (images.ndim - 1))


def l2_norm(x: Tensor) -> Tensor:
    """Euclidean norm of each image (B, ...), shaped (B, 1, ...)."""
    # Image by image: torch splits one long row among threads, but not several, and so would round it differently.
    norms = torch.stack([image.norm() for image in x.flatten(1)])
    return norms.reshape(-1, *[1] * (x.ndim - 1))
