"""Families of changes of a convolution's weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from harness.train.augment.deepaugment.random import Rng, pick, uniform

WeightChange = Callable[[Tensor, Tensor, Rng], tuple[Tensor, Tensor]]
"""A convolution's weight (O, I, k, k) and bias (O,) to others of the same shapes; its arguments stay as they are."""


def flip(weight: Tensor, bias: Tensor, rng: Rng) -> tuple[Tensor, Tensor]:
    """The output channels in reverse order."""
    return weight.flip(0), bias.flip(0)


def mirror(weight: Tensor, bias: Tensor, rng: Rng) -> tuple[Tensor, Tensor]:
    """Every kernel mirrored left to right."""
    return weight.flip(-1), bias


def rotate(weight: Tensor, bias: Tensor, rng: Rng, *, channels: bool = False) -> tuple[Tensor, Tensor]:
    """Every kernel rotated by 90, 180 or 270 degrees; with `channels` half of the time the (O, I) plane instead."""
    quarters = int(rng.integers(1, 4))
    plane = pick(rng, ((2, 3), (0, 1))) if channels else (2, 3)
    return torch.rot90(weight, quarters, plane), bias


def filters(change: Callable[[Tensor], Tensor], draws: float = 0, *, bias: bool = True) -> WeightChange:
    """Change whole filters, drawn with replacement along the first axis.

    draws: how many, a share of all if less than one, or 0 for every filter. bias: change their biases too. (The first
    axis of a transposed convolution are its inputs; the biases of the same numbers go with them.)
    """

    def apply(weight: Tensor, offsets: Tensor, rng: Rng) -> tuple[Tensor, Tensor]:
        count = int(draws * len(weight) if draws < 1 else draws)
        rows = torch.from_numpy(rng.integers(len(weight), size=count)) if draws else torch.arange(len(weight))
        weight, offsets = weight.clone(), offsets.clone()
        weight[rows] = change(weight[rows])
        if bias:
            offsets[rows] = change(offsets[rows])
        return weight, offsets

    return apply


def minus_gelu(x: Tensor) -> Tensor:
    """-x Phi(x)."""
    return -F.gelu(x)


def scale(weight: Tensor, bias: Tensor, rng: Rng, *, spread: float = 8.0) -> tuple[Tensor, Tensor]:
    """Every weight times its own factor in [1, 1 + spread u), u uniform in [0, 1).

    The program's ``rand_like(w - 1)`` reads as if it were centred; it is ``rand_like(w)``, so weights only grow. It
    spreads over 8 (autoencoder) or 4 (EDSR).
    """
    return weight * (1 + spread * rng.random() * uniform(rng, weight.shape)), bias


def coin(weight: Tensor, bias: Tensor, rng: Rng, *, tails: float) -> tuple[Tensor, Tensor]:
    """Every weight times 1 or `tails`, half and half: 0 drops weights, -1 draws new signs."""
    return weight * torch.where(uniform(rng, weight.shape) < 0.5, tails, 1.0), bias


def drop_or_sign(weight: Tensor, bias: Tensor, rng: Rng) -> tuple[Tensor, Tensor]:
    """Half of the time half of the weights dropped, else every sign drawn anew."""
    return coin(weight, bias, rng, tails=0.0 if rng.random() < 0.5 else -1.0)


def strongest(weight: Tensor, bias: Tensor, rng: Rng) -> tuple[Tensor, Tensor]:
    """Only the largest entry of every kernel; zeros around it."""
    flat = weight.flatten(2)
    value, index = flat.max(-1, keepdim=True)
    return torch.zeros_like(flat).scatter(-1, index, value).view_as(weight), bias


def laplacian(weight: Tensor, bias: Tensor, rng: Rng, *, neighbours: int = 4) -> tuple[Tensor, Tensor]:
    """3x3 kernels times, entry by entry, the Laplacian of 4 neighbours (centre -4) or of 8 (centre 8)."""
    table = {4: [[0, 1, 0], [1, -4, 1], [0, 1, 0]], 8: [[-1, -1, -1], [-1, 8, -1], [-1, -1, -1]]}
    return weight * torch.tensor(table[neighbours], dtype=weight.dtype), bias


def add_noise(weight: Tensor, bias: Tensor, rng: Rng, *, spread: float = 0.5) -> tuple[Tensor, Tensor]:
    """Uniform noise in [-spread, spread) on every weight."""
    return weight + uniform(rng, weight.shape, -spread, spread), bias


def convolve_shift(weight: Tensor, bias: Tensor, rng: Rng) -> tuple[Tensor, Tensor]:
    """Every filter one kernel, the sum of its kernels each moved by up to a pixel and with a random sign.

    The program draws a place and a sign per input channel for all outputs together, so input channels become alike.
    """
    moves = torch.zeros(weight.shape[1], 3, 3)
    for move in moves:
        row, column = rng.integers(3, size=2)
        move[row, column] = pick(rng, (1.0, -1.0))
    return _mix(weight, moves.expand(len(moves), -1, -1, -1)), bias


def convolve_uniform(weight: Tensor, bias: Tensor, rng: Rng) -> tuple[Tensor, Tensor]:
    """Kernels convolved and mixed with kernels of uniform numbers in [-1, 2u - 1) / 6, u uniform in [0, 1)."""
    channels = weight.shape[1]
    numbers = uniform(rng, (channels, channels, 3, 3))
    return _mix(weight, (2 * numbers * rng.random() - 1) / 6), bias


def convolve_dirichlet(weight: Tensor, bias: Tensor, rng: Rng, *, alpha: float = 0.1) -> tuple[Tensor, Tensor]:
    """Kernels convolved and mixed with kernels drawn from a Dirichlet distribution: few entries, summing to one."""
    channels = weight.shape[1]
    kernels = torch.from_numpy(rng.dirichlet([alpha] * 9, (channels, channels))).float()
    return _mix(weight, kernels.view(channels, channels, 3, 3)), bias


def _mix(weight: Tensor, kernels: Tensor) -> Tensor:
    """The kernels of a filter as the channels of an image, convolved with (I, I, 3, 3)."""
    return F.conv2d(weight, kernels.to(weight), padding=1)


WEIGHTS: Mapping[str, WeightChange] = {
    "flip": flip,
    "mirror": mirror,
    "rotate": rotate,
    "negate": filters(torch.neg, 12),
    "zero": filters(torch.zeros_like, 25),
    "gelu": filters(minus_gelu, 25),
    "scale": scale,
    "drop": partial(coin, tails=0.0),
    "sign": partial(coin, tails=-1.0),
    "strongest": strongest,
    "laplacian": laplacian,
    "noise": add_noise,
    "shift": convolve_shift,
    "uniform": convolve_uniform,
    "dirichlet": convolve_dirichlet,
}
"""Families of changes of weights, with the constants of the published autoencoder or else of EDSR."""
