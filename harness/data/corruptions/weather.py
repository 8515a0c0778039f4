"""Weather: snow and fog. Frost needs pictures and has a separate module."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from harness.data.corruptions.blur import streak, zoomed
from harness.data.corruptions.common import Rng, drawn, unit
from harness.data.corruptions.constants import Constants


def snow(images: Tensor, c: Constants, rngs: Sequence[Rng]) -> Tensor:
    """Whitens the image and adds streaked flakes, once as they are and once turned by 180°.

    Flakes: N(c[0], c[1]²), enlarged by c[2], those below c[3] dropped, blurred along the fall with radius c[4] and
    standard deviation c[5]. A share c[6] of the image is kept, the rest whitened.
    """
    loc, scale, zoom, threshold, radius, sigma, keep = c
    size = images.shape[-2:]
    draws = [(rng.normal(loc, scale, tuple(size)), rng.uniform(-135, -45)) for rng in rngs]
    flakes = zoomed(torch.stack([torch.from_numpy(layer) for layer, _ in draws], dim=-1), zoom).permute(2, 0, 1)
    flakes = torch.where(flakes < threshold, 0.0, flakes).clamp(0, 1)
    angles = torch.tensor([angle for _, angle in draws], dtype=torch.float64)
    layer = unit(streak((flakes * 255).to(torch.uint8)[:, None], radius, sigma, angles))
    x = unit(images).float()
    grey = 0.299 * x[:, 0:1] + 0.587 * x[:, 1:2] + 0.114 * x[:, 2:3]
    x = keep * x + (1 - keep) * torch.maximum(x, grey * 1.5 + 0.5)
    return (x + layer + layer.rot90(2, (-2, -1))) * 255


def fog(images: Tensor, c: Constants, rngs: Sequence[Rng]) -> Tensor:
    """Adds c[0] times a plasma fractal whose roughness decays by c[1], and rescales to the image's own maximum."""
    thickness, decay = c
    side = images.shape[-1]
    x = unit(images)
    peak = x.amax((1, 2, 3), keepdim=True)
    haze = plasma(1 << (side - 1).bit_length(), decay, rngs)[:, None, :side, :side]
    return (x + thickness * haze) * peak / (peak + thickness) * 255


def plasma(size: int, decay: float, rngs: Sequence[Rng]) -> Tensor:
    """Height maps (B, size, size) in [0, 1] by the diamond-square algorithm, on a torus; size is a power of two.

    The wobble of a level is proportional to the square of its amplitude, and amplitudes shrink by `decay`.
    """
    cells = [1 << level for level in range(size.bit_length() - 1)]
    chances = drawn(rngs, lambda rng: rng.random(size * size - 1))
    parts = iter(torch.split(chances, [count * count for count in cells for _ in range(3)], dim=1))
    heights = torch.zeros(len(rngs), size, size, dtype=torch.float64)
    amplitude = 100.0

    def wobbled(total: Tensor) -> Tensor:
        chance = next(parts).reshape(total.shape)
        return total / 4 + amplitude * (2 * amplitude * chance - amplitude)

    for count in cells:
        step = size // count
        half = step // 2
        corners = heights[:, ::step, ::step]
        square = corners + corners.roll(-1, 1)
        middles = heights[:, half::step, half::step] = wobbled(square + square.roll(-1, 2))
        heights[:, ::step, half::step] = wobbled((middles + middles.roll(1, 1)) + (corners + corners.roll(-1, 2)))
        heights[:, half::step, ::step] = wobbled((middles + middles.roll(1, 2)) + (corners + corners.roll(-1, 1)))
        amplitude /= decay
    heights -= heights.amin((1, 2), keepdim=True)
    return heights / heights.amax((1, 2), keepdim=True)
