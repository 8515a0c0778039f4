"""The loops that the authors of DiffAug and DDA run, in plain torch: what adm.py times this harness against."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from harness.diffusion.adaptation import low_pass
from harness.models.tiles import autocast

Draw = Callable[[str, int], Tensor]
"""Noise like the images, by purpose and draw."""


class AuthorsLoop:
    """DiffAug's ensemble (Sastry et al., NeurIPS 2024) and DDA (Gao et al., CVPR 2023) as their authors run them.

    Images are (B, 3, H, W) in [0, 1]. DDA's authors run batches of four, whose images share a norm; so do every four of
    a larger batch here, which needs B to be a multiple of four. start: guided steps, of a schedule respaced to 100.
    """

    def __init__(self, network: nn.Module, classifier: nn.Module, device: str, dtype: str, start: int) -> None:
        self.network, self.classifier, self.device, self.dtype, self.start = network, classifier, device, dtype, start
        self.beta = torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64)
        self.abar = self.beta.neg().add(1).cumprod(0)

    def default(self, images: Tensor, draw: Draw) -> Tensor:
        """Class probabilities of the images themselves, (B, K)."""
        with torch.no_grad():
            return self.classifier(images).softmax(-1)

    def de(self, images: Tensor, draw: Draw) -> Tensor:
        """Mean class probabilities over the images and nine one-step denoisings, one time after the other, (B, K)."""
        total = self.default(images, draw)
        for t in range(50, 451, 50):
            with torch.no_grad():
                x_t = self.abar[t].sqrt() * (images * 2 - 1) + (1 - self.abar[t]).sqrt() * draw("denoise", t)
                total = total + self.default((self.predict(x_t.float(), t, self.abar[t])[0] + 1) / 2, draw)
        return total / 10

    def dda(self, images: Tensor, draw: Draw) -> Tensor:
        """Class probabilities of the images adapted by `start` guided steps at scale 6, (B, K)."""
        times = [round(k * 999 / 99) for k in range(100)]
        abar = self.abar[times]
        previous = torch.cat([torch.ones(1, dtype=torch.float64), abar[:-1]])
        beta = 1 - abar / previous
        low = (beta * (1 - previous) / (1 - abar)).log()
        reference = images * 2 - 1
        x = (abar[self.start].sqrt() * reference + (1 - abar[self.start]).sqrt() * draw("dda", 0)).float()
        for step, i in enumerate(reversed(range(self.start))):
            x = x.detach().requires_grad_()
            x0, v = self.predict(x, times[i], abar[i])
            residual = low_pass(reference - x0, 4).reshape(len(x) // 4, -1)
            (slope,) = torch.autograd.grad(torch.linalg.norm(residual, dim=1).sum(), x)
            with torch.no_grad():
                mean = beta[i] * previous[i].sqrt() / (1 - abar[i]) * x0
                mean = mean + (1 - previous[i]) * (1 - beta[i]).sqrt() / (1 - abar[i]) * x
                spread = (0.5 * ((v + 1) / 2 * beta[i].log() + (1 - v) / 2 * low[max(i, 1)])).exp()
                eps = draw("dda", 1 + step)
                x = (mean + (spread * eps if i else 0) - 6 * slope).float()
        return self.default(((x + 1) / 2).clamp(0, 1), draw)

    def predict(self, x: Tensor, t: int, abar: Tensor) -> tuple[Tensor, Tensor]:
        """Clean images in [-1, 1] that the network predicts from x at time t, and its share v of the variance."""
        with autocast(self.device, self.dtype):
            out = self.network(x, torch.full((len(x),), t, device=x.device), return_dict=False)[0]
        eps, v = out.float().chunk(2, 1)
        return ((1 / abar).sqrt().float() * x - (1 / abar - 1).sqrt().float() * eps).clamp(-1, 1), v
