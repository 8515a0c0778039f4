"""SmoothAdv by automatic differentiation of the mean softmax, for any smoothed classifier: the plugin's reference."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from harness.registry.attacks.smooth_pgd import climb

LEAST = 1e-12
"""Mean probability of the label below which the loss stays constant."""


def smooth_pgd(
    logits: Callable[[Tensor, int], Tensor], images: Tensor, labels: Tensor, radius: Tensor, steps: int = 20
) -> Tensor:
    """l2 PGD against the smoothed classifier, with expectation over the noise (Salman et al., NeurIPS 2019, eq. 5-6).

    Maximises the cross-entropy of the *mean* softmax over noise draws, fresh ones in every step: see `climb`.

    logits: differentiable, images (B, 3, H, W) in [0, 1] and a step to logits (M, B, K) under M noise draws.
    labels: (B,) int64, the certified classes. radius: (B,) of the ball around each image.
    Returns images (B, 3, H, W) in [0, 1], each within its radius.
    """

    def gradient(x: Tensor, step: int) -> Tensor:
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            log_mean = logits(x, step).softmax(-1).mean(0).clamp(min=LEAST).log()
            (ascent,) = torch.autograd.grad(F.nll_loss(log_mean, labels, reduction="sum"), x)
        return ascent

    return climb(gradient, images, radius, steps)
