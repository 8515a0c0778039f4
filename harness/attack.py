"""An attack on smoothed classifiers: what a certificate must withstand, so that a broken one shows."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F


def smooth_pgd(
    logits: Callable[[Tensor, int], Tensor], images: Tensor, labels: Tensor, radius: Tensor, steps: int = 20
) -> Tensor:
    """l2 PGD against the smoothed classifier, with expectation over the noise (Salman et al., NeurIPS 2019, eq. 5-6).

    Maximises the cross-entropy of the *mean* softmax over noise draws, fresh ones in every step, by steps of
    2 radius / steps along the normalised gradient, projected onto the ball and onto [0, 1].

    logits: differentiable, images (B, 3, H, W) in [0, 1] and a step to logits (M, B, K) under M noise draws.
    labels: (B,) int64, the certified classes. radius: (B,) of the ball around each image.
    Returns images (B, 3, H, W) in [0, 1], each within its radius.
    """
    reach = radius.to(images)[:, None, None, None]
    delta = torch.zeros_like(images)
    for step in range(steps):
        delta = delta.detach().requires_grad_()
        with torch.enable_grad():
            mean = logits(images + delta, step).softmax(-1).mean(0)
            (gradient,) = torch.autograd.grad(F.nll_loss(mean.clamp(min=1e-12).log(), labels, reduction="sum"), delta)
        with torch.no_grad():
            delta = delta + 2 * reach / steps * gradient / _norm(gradient).clamp(min=1e-12)
            delta = delta * (reach / _norm(delta).clamp(min=1e-12)).clamp(max=1)
            # Clipping to [0, 1] only shortens the way, coordinate by coordinate.
            delta = (images + delta).clamp(0, 1) - images
    return (images + delta).detach()


def _norm(x: Tensor) -> Tensor:
    return x.flatten(1).norm(dim=1)[:, None, None, None]
