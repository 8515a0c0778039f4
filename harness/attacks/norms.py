"""Values per image beside images: broadcasting and norms."""

from __future__ import annotations

from typing import overload

from torch import Tensor

SMALLEST = 1e-12
"""Norm below which a vector counts as zero: it is divided by this instead."""


@overload
def per_image(values: Tensor, images: Tensor) -> Tensor: ...
@overload
def per_image(values: float | Tensor, images: Tensor) -> float | Tensor: ...
def per_image(values: float | Tensor, images: Tensor) -> float | Tensor:
    """One value for all images, or values (B,) shaped (B, 1, ...) to multiply images (B, ...)."""
    return values if isinstance(values, float | int) else values.to(images).reshape(-1, *[1] * (images.ndim - 1))


def l2_norm(x: Tensor) -> Tensor:
    """Euclidean norm of each image (B, ...), shaped (B, 1, ...)."""
    return per_image(x.flatten(1).norm(dim=1), x)


def lengths(delta: Tensor, norm: str) -> Tensor:
    """Norm of each displacement (B, ...), linf or l2, shaped (B,)."""
    flat = delta.flatten(1)
    return flat.abs().amax(1) if norm == "linf" else flat.norm(dim=1)
