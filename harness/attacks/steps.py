"""Steps of steepest ascent under a norm: the displacement of length `size` along which a linear loss grows most.

gradient: (B, ...) of the loss with respect to the images. size: one length for all images, or (B,).
An image whose gradient is zero does not move.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from harness.attacks.norms import SMALLEST, l2_norm, per_image

StepRule = Callable[[Tensor, float | Tensor], Tensor]
"""From a gradient (B, ...) and a length, one for all or (B,), to a displacement (B, ...)."""


def linf(gradient: Tensor, size: float | Tensor) -> Tensor:
    """The sign step of length `size` in every pixel (Goodfellow et al., ICLR 2015, section 4; FGSM)."""
    return per_image(size, gradient) * gradient.sign()


def l2(gradient: Tensor, size: float | Tensor) -> Tensor:
    """The normalised gradient of Euclidean length `size` (Madry et al., ICLR 2018, section 2.1, for the l2 norm)."""
    return per_image(size, gradient) * gradient / l2_norm(gradient).clamp(min=SMALLEST)
