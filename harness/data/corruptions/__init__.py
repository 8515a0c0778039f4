"""The common corruptions of Hendrycks & Dietterich (ICLR 2019), made on the fly: 15 standard ones and 4 extra.

    corrupt(images, "gaussian_noise", 5, ids=batch.ids)

Arithmetic, constants and order of the random draws are those of the authors' generators (hendrycks/robustness,
ImageNet-C/create_c); the random numbers are keyed by (seed, corruption, severity, sample id), so that a sample looks
the same in every batch. The published ImageNet-C went through JPEG (quality 85) afterwards; CIFAR-10-C did not. Images
made here are therefore another benchmark and never share a column with the download.

Other names are those of plugins, ``@corruption``: see `harness.types.Corruption`.

Everything is computed on the CPU, so that no device changes a pixel.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from harness import plugins
from harness.base.noise import generators
from harness.data.corruptions import blur, digital, noise, plugged, weather
from harness.data.corruptions.common import Bundled, Rng
from harness.data.corruptions.constants import SEVERITIES, SIZES
from harness.data.corruptions.frost import frost as _frost
from harness.data.corruptions.frost import frost_source
from harness.data.corruptions.spatter import spatter as _spatter
from harness.types import HarnessError

__all__ = ["EXTRA", "STANDARD", "check", "check_name", "corrupt", "frost_source", "summary", "to_levels"]

_STANDARD: dict[str, Bundled] = {
    "gaussian_noise": noise.gaussian_noise,
    "shot_noise": noise.shot_noise,
    "impulse_noise": noise.impulse_noise,
    "defocus_blur": blur.defocus_blur,
    "glass_blur": blur.glass_blur,
    "motion_blur": blur.motion_blur,
    "zoom_blur": blur.zoom_blur,
    "snow": weather.snow,
    "frost": _frost,
    "fog": weather.fog,
    "brightness": digital.brightness,
    "contrast": digital.contrast,
    "elastic_transform": digital.elastic_transform,
    "pixelate": digital.pixelate,
    "jpeg_compression": digital.jpeg_compression,
}
_EXTRA: dict[str, Bundled] = {
    "speckle_noise": noise.speckle_noise,
    "gaussian_blur": blur.gaussian_blur,
    "spatter": _spatter,
    "saturate": digital.saturate,
}

STANDARD = tuple(_STANDARD)
"""The 15 corruptions that mCE averages, in the order of the paper."""

EXTRA = tuple(_EXTRA)
"""The 4 held-out corruptions, for choosing hyper-parameters; never part of a mean."""


def corrupt(
    images: Tensor, name: str, severity: int, *, ids: Sequence[str], seed: int = 0, frost: Path | None = None
) -> Tensor:
    """Images under one corruption.

    images: (B, 3, H, H) float32 RGB in [0, 1], H one of 32, 64, 224, 299; rounded to 8 bits first. H chooses the
        constants: those of CIFAR-10-C, Tiny-ImageNet-C, ImageNet-C and the 299-pixel ImageNet-C. Plugins take any size.
    name: one of `STANDARD` or `EXTRA`, or of a plugin.
    severity: 1 to 5.
    ids: the B sample ids that key the random numbers.
    frost: folder of the authors' frost pictures; without it frost is drawn, see `frost_source`.

    Returns (B, 3, H, H) float32 in [0, 1] on the 8-bit grid, on the device of `images`: truncated as in the original;
    what a plugin gives is rounded to the nearest level.
    Raises HarnessError for an unknown name, a severity or size without published constants, missing pictures, and a
    plugin that fails or gives no images.
    """
    if len(ids) != len(images) or not images.is_floating_point():
        raise ValueError(f"{len(images)} images of {images.dtype} and {len(ids)} ids: one id per float image in [0, 1]")
    check(images, name, severity)
    pixels = to_levels(images.detach().cpu())
    if len(pixels):
        rngs = generators(seed, f"{name}/{severity}", ids)
        if name in STANDARD + EXTRA:
            pixels = apply(pixels, name, severity, rngs, frost)
        else:
            pixels = plugged.apply(pixels, name, severity, rngs)
    return (pixels.float() / 255).to(images.device)


def apply(pixels: Tensor, name: str, severity: int, rngs: Sequence[Rng], frost: Path | None = None) -> Tensor:
    """`corrupt` on (B, 3, H, H) uint8 with explicit random streams, one per image: uint8."""
    functions = _STANDARD | _EXTRA | {"frost": partial(_frost, folder=frost)}
    levels = functions[name](pixels, SEVERITIES[name][pixels.shape[-1]][severity - 1], rngs)
    return levels.clamp(0, 255).to(torch.uint8).contiguous()


def to_levels(images: Tensor) -> Tensor:
    """Images in [0, 1] as uint8 levels, rounded to the nearest."""
    return (images * 255).round().clamp(0, 255).to(torch.uint8)


def summary(name: str) -> str:
    """First line on one of the 15 + 4 corruptions."""
    return str((_STANDARD | _EXTRA)[name].__doc__).split("\n")[0]


def check_name(name: str) -> None:
    """Raise HarnessError for a name that is neither one of the 15 + 4 nor a plugin's."""
    if name not in STANDARD + EXTRA and name not in plugins.corruption:
        others = [entry.name for entry in plugins.corruption.entries()]
        raise plugins.unknown("corruption", name, sorted({*STANDARD, *EXTRA, *others}))


def check(images: Tensor, name: str, severity: int) -> None:
    """Raise HarnessError for a corruption, a severity or a size that there is not."""
    check_name(name)
    if severity not in range(1, 6):
        raise HarnessError(f"{name}: severity {severity!r} must be one of 1, 2, 3, 4, 5.")
    if name not in STANDARD + EXTRA:
        return
    shape = tuple(images.shape)
    if len(shape) != 4 or shape[1] != 3 or shape[2] != shape[3] or shape[2] not in SIZES:
        sizes = ", ".join(f"{size}x{size}" for size in SIZES)
        raise HarnessError(
            f"{name}: images of shape {shape}; constants were published for RGB images (B, 3, H, H) of {sizes}. "
            "Choose a geometry with one of these crops."
        )
