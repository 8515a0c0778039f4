"""Building blocks of the corruptions: random streams, levels as numbers, borders, interpolation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from harness.data.corruptions.constants import Constants


class Rng(Protocol):
    """The draws that corruptions make. `numpy.random.Generator` has them, and so could a recorded stream."""

    def normal(self, loc: float, scale: float, size: tuple[int, ...], /) -> Any: ...

    def uniform(self, low: float, high: float, size: tuple[int, ...] | None = None, /) -> Any: ...

    def random(self, size: tuple[int, ...] | int, /) -> Any: ...

    def poisson(self, lam: Any, /) -> Any: ...

    def integers(self, low: int, high: int, size: tuple[int, ...] | None = None, /) -> Any: ...


Bundled = Callable[[Tensor, Constants, Sequence[Rng]], Tensor]
"""(images (B, 3, H, W) uint8, constants, one Rng per image) to levels (B, 3, H, W).

The levels are uint8, or floats on the scale 0 to 255 that the caller clips and truncates. Row b depends on image b and
on rngs[b] alone, and every sum is taken in an order that the batch size cannot change.
"""


def unit(images: Tensor) -> Tensor:
    """uint8 levels to float64 in [0, 1]. Double precision because truncation shows the last bit of a number."""
    return images.double() / 255


def drawn(rngs: Sequence[Rng], draw: Callable[[Rng], Any]) -> Tensor:
    """One draw per image, stacked: (B, ...)."""
    return torch.from_numpy(np.stack([np.asarray(draw(rng)) for rng in rngs]))


def reflect(index: Tensor, size: int) -> Tensor:
    """Indices outside [0, size) mirrored at the outermost pixel, which is not repeated: d c b | a b c d | c b a."""
    period = max(2 * (size - 1), 1)
    index = index.remainder(period)
    return torch.minimum(index, period - index)


def mirror(index: Tensor, size: int) -> Tensor:
    """Indices outside [0, size) mirrored at the border, repeating the outermost pixel: b a | a b c d | d c."""
    index = index.remainder(2 * size)
    return torch.minimum(index, 2 * size - 1 - index)


def clamp(index: Tensor, size: int) -> Tensor:
    """Indices outside [0, size) moved to the nearest pixel: a a | a b c d | d d."""
    return index.clamp(0, size - 1)


Border = Callable[[Tensor, int], Tensor]


def pad(images: Tensor, margin: int, border: Border) -> Tensor:
    """(..., H, W) to (..., H + 2 margin, W + 2 margin)."""
    for dim in (-2, -1):
        size = images.shape[dim]
        images = images.index_select(dim, border(torch.arange(-margin, size + margin), size))
    return images


def interpolate(images: Tensor, positions: Tensor, dim: int) -> Tensor:
    """Linear interpolation along one dimension, at `positions` in pixels (0 is the centre of the first), clamped."""
    size = images.shape[dim]
    positions = positions.clamp(0, size - 1)
    lower = positions.floor().long()
    shape = [1] * images.ndim
    shape[dim] = len(positions)
    weight = (positions - lower).reshape(shape)
    upper = images.index_select(dim, (lower + 1).clamp(max=size - 1))
    return images.index_select(dim, lower) * (1 - weight) + upper * weight
