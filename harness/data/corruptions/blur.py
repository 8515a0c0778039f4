"""Blurs: copies of the image, shifted and added one after another.

A row's bits then never depend on how many images share the batch. Those of a convolution may, as its algorithm is
chosen by the size of the problem. Products and sums are separate operations for the same reason: where a fused one is
used can depend on a value's place in memory.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from harness.data.corruptions.common import Rng, clamp, drawn, interpolate, pad, reflect, unit
from harness.data.corruptions.constants import Constants


def gaussian_blur(images: Tensor, c: Constants, rngs: Sequence[Rng]) -> Tensor:
    """Gaussian with standard deviation c, in pixels."""
    (sigma,) = c
    return smooth(unit(images), sigma) * 255


def defocus_blur(images: Tensor, c: Constants, rngs: Sequence[Rng]) -> Tensor:
    """A disk of radius c[0] pixels, itself softened by a Gaussian of c[1] pixels."""
    radius, softness = c
    kernel = disk(radius, softness)
    side = images.shape[-1]
    padded = pad(unit(images), len(kernel) // 2, reflect)
    total = torch.zeros(images.shape, dtype=torch.float64)
    for row, column in zip(*kernel.nonzero(), strict=True):
        total += padded[..., row : row + side, column : column + side] * float(kernel[row, column])
    return total * 255


def glass_blur(images: Tensor, c: Constants, rngs: Sequence[Rng]) -> Tensor:
    """Gaussian of c[0] pixels, then neighbours up to c[1] pixels apart change places c[2] times, then Gaussian again.

    The authors' code exchanges two numpy views, which copies one pixel over the other instead of swapping them. The
    published images were made that way, and so are these.
    """
    sigma, reach, rounds = c[0], int(c[1]), int(c[2])
    side, batch = images.shape[-1], len(images)
    blurred = (smooth(unit(images), sigma) * 255).to(torch.uint8)
    # Pixels outermost, images inside: a step then moves one contiguous run of the whole batch.
    pixels = blurred.permute(2, 3, 0, 1).reshape(side * side * batch, 3).numpy()
    rows = np.arange(side - reach, reach, -1)
    shape = (rounds, len(rows), len(rows), 2)
    # (rounds, rows, columns, (dx, dy), images), in bytes: these are the largest arrays of the whole package.
    moves = np.stack([np.asarray(rng.integers(-reach, reach, shape)).astype(np.int8) for rng in rngs], axis=-1)
    target = (rows[:, None] * side + rows) * batch
    for move in moves:
        dx, dy = np.moveaxis(move, 2, 0).astype(np.int64)
        source = target[..., None] + (dy * side + dx) * batch + np.arange(batch)
        # Each step may read what an earlier one wrote, so the walk over the pixels cannot be vectorised.
        for start, chosen in zip(target.ravel().tolist(), source.reshape(-1, batch), strict=True):
            pixels[start : start + batch] = pixels[chosen]
    shuffled = torch.from_numpy(pixels).reshape(side, side, batch, 3).permute(2, 3, 0, 1)
    return smooth(unit(shuffled), sigma) * 255


def motion_blur(images: Tensor, c: Constants, rngs: Sequence[Rng]) -> Tensor:
    """A one-sided streak of radius c[0] and standard deviation c[1] pixels, at an angle within 45° of horizontal."""
    radius, sigma = c
    angles = drawn(rngs, lambda rng: rng.uniform(-45, 45))
    return streak(images, radius, sigma, angles)


def zoom_blur(images: Tensor, c: Constants, rngs: Sequence[Rng]) -> Tensor:
    """The mean of the image and of its enlargements by ``np.arange(1, c[0], c[1])``."""
    factors = np.arange(1, *c)
    # Pixels outermost: rows and columns are then equally quick to pick. The authors sum in single precision too.
    x = unit(images).float().permute(2, 3, 0, 1).contiguous()
    total = torch.zeros_like(x)
    for factor in factors:
        total += zoomed(x, float(factor))
    return ((x + total) / (len(factors) + 1) * 255).permute(2, 3, 0, 1)


def smooth(images: Tensor, sigma: float) -> Tensor:
    """Gaussian filter of (..., H, W) float64 as scipy.ndimage.gaussian_filter(mode="nearest", truncate=4) takes it.

    The order of the sum is SciPy's too: a flat area stays on the same side of a level when it is truncated.
    """
    radius = int(4 * sigma + 0.5)
    if radius == 0:
        return images
    taps = np.exp(-0.5 / (sigma * sigma) * np.arange(-radius, radius + 1) ** 2)
    weights = taps / taps.sum()
    for dim in (-2, -1):
        size = images.shape[dim]
        index = clamp(torch.arange(-radius, size + radius), size)
        padded = images.index_select(dim, index)
        total = padded.narrow(dim, radius, size) * float(weights[radius])
        for j in range(radius, 0, -1):
            pair = padded.narrow(dim, radius - j, size) + padded.narrow(dim, radius + j, size)
            total += pair * float(weights[radius + j])
        images = total
    return images


def disk(radius: float, softness: float) -> NDArray[np.float32]:
    """Kernel (K, K) of defocus_blur: a disk of that radius, softened by a 3x3 or 5x5 Gaussian."""
    reach = 8 if radius <= 8 else int(radius)
    axis = np.arange(-reach, reach + 1)
    kernel = ((axis[:, None] ** 2 + axis[None] ** 2) <= radius**2).astype(np.float32)
    kernel /= kernel.sum()
    margin = 1 if radius <= 8 else 2
    taps = np.exp(-0.5 * (np.arange(-margin, margin + 1) / softness) ** 2)
    taps = (taps / taps.sum()).astype(np.float32)
    for axis_ in (1, 0):
        kernel = ndimage.correlate1d(kernel, taps, axis_, mode="mirror")
    return kernel


def streak(images: Tensor, radius: float, sigma: float, angles: Tensor) -> Tensor:
    """ImageMagick's motion blur of (B, C, H, W) uint8, at one angle per image, in degrees: (B, C, H, W) uint8.

    Copies shifted by 0, 1, ... 2 * ceil(radius) whole pixels along the angle, weighted by half a Gaussian; pixels
    beyond the border repeat it. ImageMagick's MotionBlurImage is matched to one level.
    """
    taps = np.exp(-(np.arange(2 * math.ceil(radius) + 1) ** 2) / (2 * sigma * sigma))
    weights = taps / taps.sum()
    margin = len(weights)
    height, width = images.shape[-2:]
    result = torch.empty_like(images)
    for image, angle, out in zip(images, angles.deg2rad().tolist(), result, strict=True):
        padded = pad(image.double(), margin, clamp)
        total = torch.zeros(image.shape, dtype=torch.float64)
        for i, weight in enumerate(weights):
            top = margin + math.ceil(i * math.sin(angle) - 0.5)
            left = margin + math.ceil(i * math.cos(angle) - 0.5)
            total += padded[:, top : top + height, left : left + width] * float(weight)
        out.copy_(total.clamp(0, 255))
    return result


def zoomed(images: Tensor, factor: float) -> Tensor:
    """The centre of images (H, H, ...) enlarged linearly by `factor`, cropped to H.

    As in the authors' clipped_zoom: the crop is rounded up to whole pixels, and its corners are aligned.
    """
    side = len(images)
    extent = math.ceil(side / factor)
    top = (side - extent) // 2
    crop = images[top : top + extent, top : top + extent].double()
    size = round(extent * factor)
    positions = torch.arange(size, dtype=torch.float64) * ((extent - 1) / (size - 1))
    positions = positions[(size - side) // 2 :][:side]
    return interpolate(interpolate(crop, positions, 0), positions, 1).to(images.dtype)
