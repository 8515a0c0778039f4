"""Families of changes of activations."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from harness.train.augment.deepaugment.random import Rng, pick, uniform

ActivationChange = Callable[[Tensor, Rng], Tensor]
"""Activations (B, C, H, W) to others of the same shape; its argument stays as it is."""


def spots(
    x: Tensor, rng: Rng, *, value: float = 0.0, share: float = 0.2, channelwise: bool = False
) -> Tensor:  # fmt: skip
    """A share of the positions times `value`, the same in all channels or each channel by itself."""
    hit = uniform(rng, x.shape[1 if channelwise else 2 :]) < share
    return torch.where(hit.to(x.device), value * x, x)


def permute(x: Tensor, rng: Rng, *, share: float = 10 / 32) -> Tensor:
    """The first channels, a share of all, in random order."""
    order = torch.arange(x.shape[1])
    first = round(share * len(order))
    order[:first] = torch.from_numpy(rng.permutation(first))
    return x[:, order]


def turn(x: Tensor, rng: Rng, *, share: float = 0.0) -> Tensor:
    """Channels upside down, left to right, or both; all of them, or a share drawn with replacement.

    The program flips two of the axes batch, rows and columns; in its batches of one image this is what remains.
    """
    channels = x.shape[1]
    axes = pick(rng, ((2,), (3,), (2, 3)))
    some = torch.from_numpy(rng.integers(channels, size=round(share * channels))) if share else torch.arange(channels)
    turned = x.clone()
    turned[:, some] = x[:, some].flip(axes)
    return turned


def blend(x: Tensor, rng: Rng, *, spread: float = 0.1) -> Tensor:
    """Convolved with the identity plus uniform noise in [-spread, spread)."""
    kernels = _identity(x.shape[1])
    return _convolve(x, kernels + uniform(rng, kernels.shape, -spread, spread))


def mix(x: Tensor, rng: Rng) -> Tensor:
    """Half of the channels with another channel, moved by up to a pixel, added."""
    kernels = _identity(x.shape[1])
    for kernel in kernels:
        if rng.random() < 0.5:
            kernel[rng.integers(len(kernel)), rng.integers(3), rng.integers(3)] = 1
    return _convolve(x, kernels)


def shift(x: Tensor, rng: Rng, *, again: float = 0.2) -> Tensor:
    """Every channel moved by up to a pixel, like the one before it or, with probability `again`, in a new direction."""
    kernels = torch.zeros_like(_identity(x.shape[1]))
    place = rng.integers(3, size=2)
    for j, kernel in enumerate(kernels):
        place = rng.integers(3, size=2) if rng.random() < again else place
        kernel[j, place[0], place[1]] = 1
    return _convolve(x, kernels)


def _identity(channels: int) -> Tensor:
    return F.pad(torch.eye(channels)[:, :, None, None], (1, 1, 1, 1))


def _convolve(x: Tensor, kernels: Tensor) -> Tensor:
    return F.conv2d(x, kernels.to(x), padding=1)


def amplify(x: Tensor, rng: Rng, *, low: float = 3.0, spread: float = 4.0) -> Tensor:
    """A code in [-1, 1], counted from -1, times factors in [low, low + spread u), u uniform in [0, 1).

    The program multiplies bits 0 and 1 and then maps them to -1 and 1: zeros stay, ones grow to between 5 and 13.
    """
    factor = low + spread * rng.random() * uniform(rng, x.shape[1:])
    return (x + 1) * factor.to(x.device) - 1


def copy(x: Tensor, rng: Rng, *, times: int = 5) -> Tensor:
    """Some channels overwritten by others. (The program means to swap two views of one tensor, and copies instead.)"""
    x = x.clone()
    for _ in range(times):
        target, source = rng.integers(x.shape[1], size=2)
        x[:, target] = x[:, source]
    return x


def negate(x: Tensor, rng: Rng) -> Tensor:
    """All signs turned."""
    return -x


def activate(x: Tensor, rng: Rng) -> Tensor:
    """ReLU in one of three cases, else GELU."""
    return F.relu(x) if rng.integers(3) == 1 else F.gelu(x)


def reverse(x: Tensor, rng: Rng) -> Tensor:
    """The channels in reverse order, and upside down in one of three cases, else left to right."""
    return x.flip((1, 2) if rng.integers(3) == 1 else (1, 3))


ACTIVATIONS: Mapping[str, ActivationChange] = {
    "amplify": amplify,
    "zero": spots,
    "sign": partial(spots, value=-1.0, share=0.1),
    "permute": permute,
    "turn-some": partial(turn, share=5 / 32),
    "turn": turn,
    "blend": blend,
    "mix": mix,
    "shift": shift,
    "copy": copy,
    "negate": negate,
    "activate": activate,
    "reverse": reverse,
}
"""Families of changes of activations, with the constants of the published autoencoder or else of EDSR."""

CODE = ("amplify", "zero", "sign", "permute", "turn-some", "turn", "blend", "mix", "shift")
"""Those that the published autoencoder's code goes through, one per image."""
