"""The sinusoidal embedding of diffusion times, as precise as the times."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

LONGEST = 10_000
"""Ratio of the longest period to the shortest, 2 pi."""


class TimeSinusoids(nn.Module):
    """Times (B,) to cosines, then sines, (B, width) at frequencies from 1 to 1/10,000 (Ho et al., NeurIPS 2020).

    Float64 for float64 times; for all others float32, bit for bit diffusers' embedding. width: even.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width

    def forward(self, times: Tensor) -> Tensor:
        dtype = torch.float64 if times.dtype == torch.float64 else torch.float32
        half = self.width // 2
        exponents = -math.log(LONGEST) * torch.arange(half, dtype=dtype, device=times.device) / half
        angles = times[:, None].to(dtype) * exponents.exp()
        return torch.cat([angles.cos(), angles.sin()], -1)
