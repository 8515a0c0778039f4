"""Spatter: drops of water or mud on the lens.

The authors paint the water with OpenCV; its operations are rebuilt here from their definitions, whole batches at a time
and with OpenCV's constants and borders. Canny's edges, the distances and the equalised histogram are the same integers.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from harness.data.corruptions.blur import smooth
from harness.data.corruptions.common import Border, Rng, clamp, drawn, pad, reflect, unit
from harness.data.corruptions.constants import Constants

WATER = (175, 238, 238)
MUD = (63, 42, 20)
RELIEF = ((-2, -1, 0), (-1, 1, 1), (0, 1, 2))


def spatter(images: Tensor, c: Constants, rngs: Sequence[Rng]) -> Tensor:
    """Covers the image where smoothed noise is high: with turquoise water, or with mud where c[5] is 1.

    Noise N(c[0], c[1]²), smoothed by c[2] pixels and cut off below c[3]; c[4] is the strength of the water, or the
    softness of the mud's edge in pixels. An image that no drop hits stays as it is; the authors' turns black (0 / 0).

    Against the authors' code with the same noise, at every severity and size: water is equal, and about 1 in 100,000
    values of mud is off by one level.
    """
    loc, scale, sigma, threshold, strength, muddy = c
    size = tuple(images.shape[-2:])
    liquid = smooth(drawn(rngs, lambda rng: rng.normal(loc, scale, size)), sigma)
    liquid = torch.where(liquid < threshold, 0.0, liquid)
    x = unit(images).float()
    if muddy:
        cover = smooth((liquid > threshold).double(), strength)
        cover = torch.where(cover < 0.8, 0.0, cover).float()[:, None]
        return (x * (1 - cover) + _colour(MUD) * cover) * 255
    # Above 255 the level wraps around, as it does when the authors convert it.
    layer = (liquid * 255).long() % 256
    mask = layer.float() * relief(layer)
    peak = mask.amax((1, 2), keepdim=True)
    mask = (mask / torch.where(peak > 0, peak, 1.0) * strength)[:, None]
    return (x + mask * _colour(WATER)).clamp(0, 1) * 255


def relief(layer: Tensor) -> Tensor:
    """Light on the rim of drops: levels (B, H, W) int64 to their relief, (B, H, W) float32."""
    distance = distances(~canny(layer, 50, 150), limit=20)
    level = equalised((_window_sum(distance, None) / 9).floor().long())
    embossed = _window_sum(level, RELIEF).clamp(0, 255)
    return (_window_sum(embossed, None) / 9).round().float()


def canny(levels: Tensor, low: int, high: int) -> Tensor:
    """Canny's edges of (B, H, W) int64 levels, (B, H, W) bool: Sobel 3x3, L1 magnitude, OpenCV's integer angles."""
    dx = _window_sum(levels, ((-1, 0, 1), (-2, 0, 2), (-1, 0, 1)), clamp)
    dy = _window_sum(levels, ((-1, -2, -1), (0, 0, 0), (1, 2, 1)), clamp)
    magnitude = dx.abs() + dy.abs()
    padded = torch.nn.functional.pad(magnitude, (1, 1, 1, 1))
    height, width = levels.shape[-2:]

    def beside(down: int, right: int) -> Tensor:
        return padded[:, 1 + down : 1 + down + height, 1 + right : 1 + right + width]

    # tan 22.5° and tan 67.5° = tan 22.5° + 2, in 15-bit fixed point.
    flat = dx.abs() * 13573
    rise = dy.abs() << 15
    steep = flat + (dx.abs() << 16)
    along = (magnitude > beside(0, -1)) & (magnitude >= beside(0, 1))
    upright = (magnitude > beside(-1, 0)) & (magnitude >= beside(1, 0))
    falling = (magnitude > beside(-1, -1)) & (magnitude > beside(1, 1))
    rising = (magnitude > beside(-1, 1)) & (magnitude > beside(1, -1))
    diagonal = torch.where((dx ^ dy) < 0, rising, falling)
    ridge = torch.where(rise < flat, along, torch.where(rise > steep, upright, diagonal))

    # Weak ridges count where they touch a strong one; the structure connects pixels, never images.
    weak = (ridge & (magnitude > low)).numpy()
    strong = weak & (magnitude > high).numpy()
    structure = np.zeros((3, 3, 3), dtype=bool)
    structure[1] = True
    labels, count = ndimage.label(weak, structure)
    touched = np.zeros(count + 1, dtype=bool)
    touched[labels[strong]] = True
    return torch.from_numpy(touched[labels] & weak)


def distances(free: Tensor, limit: int) -> Tensor:
    """Distance of every pixel (B, H, W) from the nearest one that is not free, at most `limit`; float64.

    The 5x5 chamfer distance with Borgefors' weights, by relaxation: no path below the limit is longer than that many
    steps, as every step costs at least 1.
    """
    steps = [(1, 0, 1.0), (0, 1, 1.0), (1, 1, 1.4), (1, -1, 1.4)]
    steps += [(1, 2, 2.1969), (1, -2, 2.1969), (2, 1, 2.1969), (2, -1, 2.1969)]
    height, width = free.shape[-2:]
    current = torch.where(free, float(limit), 0.0).double()
    while True:
        padded = torch.nn.functional.pad(current, (2, 2, 2, 2), value=float(limit))
        better = current.clone()
        for down, right, cost in steps:
            for y, x in ((down, right), (-down, -right)):
                torch.minimum(better, padded[:, 2 + y : 2 + y + height, 2 + x : 2 + x + width] + cost, out=better)
        if torch.equal(better, current):
            return current
        current = better


def equalised(levels: Tensor) -> Tensor:
    """Histogram equalisation of (B, H, W) int64 levels, image by image."""
    pixels = levels[0].numel()
    tables = []
    for row in levels.flatten(1):
        histogram = torch.bincount(row, minlength=256)
        first = int(histogram.nonzero()[0])
        rest = pixels - int(histogram[first])
        ranks = histogram.cumsum(0) - histogram[first]
        scaled = (ranks.float() * (255.0 / max(rest, 1))).round().clamp(0, 255).long()
        tables.append(scaled if rest else torch.full((256,), first))
    return torch.stack(tables).gather(1, levels.flatten(1)).reshape(levels.shape)


def _window_sum(x: Tensor, weights: Sequence[Sequence[int]] | None, border: Border = reflect) -> Tensor:
    """3x3 correlation of (B, H, W) with integer weights, or with ones; exact for integers."""
    padded = pad(x, 1, border)
    height, width = x.shape[-2:]
    total = torch.zeros_like(x)
    for row, column in np.ndindex(3, 3):
        weight = 1 if weights is None else weights[row][column]
        total += weight * padded[:, row : row + height, column : column + width]
    return total


def _colour(levels: tuple[int, int, int]) -> Tensor:
    return (torch.tensor(levels, dtype=torch.float64) / 255).float().reshape(3, 1, 1)
