"""Colour and digital corruptions: what cameras, codecs and editors do to a finished picture."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage
from torch import Tensor

from harness.data.corruptions.common import Border, Rng, mirror, reflect, unit
from harness.data.corruptions.constants import ELASTIC_UNIT, Constants


def brightness(images: Tensor, c: Constants, rngs: Sequence[Rng]) -> Tensor:
    """Adds c to the value of HSV."""
    (shift,) = c
    hue, saturation, value = hsv(unit(images))
    return rgb(hue, saturation, (value + shift).clamp(0, 1)) * 255


def saturate(images: Tensor, c: Constants, rngs: Sequence[Rng]) -> Tensor:
    """Saturation of HSV times c[0] plus c[1]."""
    factor, shift = c
    hue, saturation, value = hsv(unit(images))
    return rgb(hue, (saturation * factor + shift).clamp(0, 1), value) * 255


def contrast(images: Tensor, c: Constants, rngs: Sequence[Rng]) -> Tensor:
    """Draws every channel towards its mean: a share c of the distance remains."""
    (factor,) = c
    pixels = images.shape[-2] * images.shape[-1]
    # Levels are summed as integers: exact, so the sum has one value whatever the order.
    mean = images.long().sum((2, 3), keepdim=True).double() / (255 * pixels)
    return ((unit(images) - mean) * factor + mean) * 255


def pixelate(images: Tensor, c: Constants, rngs: Sequence[Rng]) -> Tensor:
    """Box-filtered down to a share c of the side, and up again."""
    (share,) = c
    side = images.shape[-1]
    small = int(side * share)
    box = Image.Resampling.BOX
    return _through_pillow(images, lambda image: image.resize((small, small), box).resize((side, side), box))


def jpeg_compression(images: Tensor, c: Constants, rngs: Sequence[Rng]) -> Tensor:
    """Written as JPEG of quality c and read back, by the libjpeg that Pillow was built with."""

    def compressed(image: Image.Image) -> Image.Image:
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=int(c[0]))
        return Image.open(buffer, formats=("JPEG",))

    return _through_pillow(images, compressed)


def elastic_transform(images: Tensor, c: Constants, rngs: Sequence[Rng]) -> Tensor:
    """A random affine map, then a smooth random displacement of every pixel.

    All in `ELASTIC_UNIT`: c[0] amplitude and c[1] smoothness of the displacement, c[2] how far the three points that
    fix the affine map may move. OpenCV up to 4 rounds the affine coordinates to 1/32 pixel; this does not.
    """
    side = images.shape[-1]
    amplitude, smoothness, wander = (ELASTIC_UNIT[side] * x for x in c)
    draws = [(rng.uniform(-wander, wander, (3, 2)), rng.uniform(-1, 1, (2, side, side))) for rng in rngs]

    low, high = side // 2 - side // 3, side // 2 + side // 3
    anchors = np.array([(high, high), (high, low), (low, low)], dtype=np.float32)
    # From the output's pixel to the input's, hence the map that takes the moved points back.
    back = torch.stack([_affine(anchors + moved.astype(np.float32), anchors) for moved, _ in draws])[..., None, None]
    axis = torch.arange(side, dtype=torch.float64)
    y, x = axis[:, None].expand(side, side), axis.expand(side, side)
    from_x, from_y = (back[:, i, 0] * x + back[:, i, 1] * y + back[:, i, 2] for i in (0, 1))
    warped = bilinear(unit(images).float(), from_y, from_x, reflect)

    gaussian = _gaussian_matrix(side, smoothness)
    shift = np.stack([gaussian @ field @ gaussian.T for _, field in draws]) * amplitude
    dx, dy = torch.from_numpy(shift.astype(np.float32)).unbind(1)
    return bilinear(warped, y + dy, x + dx, mirror) * 255


def bilinear(images: Tensor, y: Tensor, x: Tensor, border: Border) -> Tensor:
    """Images (B, C, H, W) float32 read at positions (B, h, w) in pixels: (B, C, h, w) float32."""
    height, width = images.shape[-2:]
    batch, channels = images.shape[:2]
    flat = images.flatten(2)
    top, left = y.floor(), x.floor()
    down, right = (y - top)[:, None], (x - left)[:, None]

    def corner(dy: int, dx: int) -> Tensor:
        index = border(top.long() + dy, height) * width + border(left.long() + dx, width)
        pixels = flat.gather(2, index.reshape(batch, 1, -1).expand(-1, channels, -1))
        return pixels.reshape(batch, channels, *y.shape[1:]).double()

    upper = corner(0, 0) * (1 - right) + corner(0, 1) * right
    lower = corner(1, 0) * (1 - right) + corner(1, 1) * right
    return (upper * (1 - down) + lower * down).float()


def hsv(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """RGB (B, 3, H, W) in [0, 1] to hue, saturation and value in [0, 1], (B, H, W) each; the hue of grey is 0."""
    red, green, blue = x.unbind(1)
    value, spread = x.amax(1), x.amax(1) - x.amin(1)
    grey = spread == 0
    safe = torch.where(grey, 1.0, spread)
    sector = torch.where(red == value, (green - blue) / safe, torch.zeros_like(red))
    sector = torch.where(green == value, 2 + (blue - red) / safe, sector)
    sector = torch.where(blue == value, 4 + (red - green) / safe, sector)
    hue = torch.where(grey, 0.0, (sector / 6).remainder(1))
    saturation = torch.where(grey, 0.0, spread / torch.where(grey, 1.0, value))
    return hue, saturation, value


def rgb(hue: Tensor, saturation: Tensor, value: Tensor) -> Tensor:
    """The inverse of `hsv`: (B, 3, H, W)."""
    sector = (hue * 6).floor()
    f = hue * 6 - sector
    p = value * (1 - saturation)
    q = value * (1 - f * saturation)
    t = value * (1 - (1 - f) * saturation)
    choices = ((value, t, p), (q, value, p), (p, value, t), (p, q, value), (t, p, value), (value, p, q))
    index = sector.long().remainder(6)[None]
    return torch.stack([torch.stack(channel).gather(0, index)[0] for channel in zip(*choices, strict=True)], dim=1)


def _affine(points: NDArray[np.float32], images: NDArray[np.float32]) -> Tensor:
    """The map (2, 3) that takes three points (x, y) to three others."""
    system = np.column_stack([points.astype(np.float64), np.ones(3)])
    return torch.from_numpy(np.linalg.solve(system, images.astype(np.float64)).T.copy())


@lru_cache(maxsize=16)
def _gaussian_matrix(side: int, sigma: float) -> NDArray[np.float64]:
    """The Gaussian filter along one axis as a matrix: at the widths used here its kernel is longer than the image."""
    identity = np.eye(side)
    if sigma > 0:
        ndimage.gaussian_filter1d(identity.copy(), sigma, axis=0, output=identity, mode="reflect", truncate=3)
    return identity


def _through_pillow(images: Tensor, function: Callable[[Image.Image], Image.Image]) -> Tensor:
    rows = [np.asarray(function(Image.fromarray(row))) for row in images.permute(0, 2, 3, 1).contiguous().numpy()]
    return torch.from_numpy(np.stack(rows)).permute(0, 3, 1, 2)
