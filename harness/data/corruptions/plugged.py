"""Corruptions of plugins: called, and their output checked."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from harness import plugins
from harness.base.errors import place
from harness.types import HarnessError


def apply(pixels: Tensor, name: str, severity: int, rngs: Sequence[np.random.Generator]) -> Tensor:
    """Images (B, 3, H, W) uint8 under a plugin's corruption, uint8, rounded to the nearest level.

    Raises HarnessError if the plugin fails, or gives anything but finite images of the same shape in [0, 1].
    """
    entry = plugins.corruption[name]
    who = f"Corruption {name!r} at severity {severity}"
    try:
        images = entry.build(pixels.float() / 255, severity, rngs)
    except HarnessError:
        raise
    except Exception as error:
        file = getattr(sys.modules.get(entry.build.__module__), "__file__", None)
        where = place(error, Path(file).parent) if file else ""
        raise HarnessError(
            f"{who} failed on images of shape {tuple(pixels.shape)}: {type(error).__name__}: {error}{where}. "
            "A corruption is a function of images (B, 3, H, W) in [0, 1], the severity and a generator per image."
        ) from error
    _check(images, pixels, who)
    return (images.detach().cpu() * 255).round().to(torch.uint8).contiguous()


def _check(images: Any, pixels: Tensor, who: str) -> None:
    if not isinstance(images, Tensor) or not images.is_floating_point() or images.shape != pixels.shape:
        is_tensor = isinstance(images, Tensor)
        got = f"{images.dtype} of shape {tuple(images.shape)}" if is_tensor else f"a {type(images).__name__}"
        raise HarnessError(
            f"{who} returned {got} for images of shape {tuple(pixels.shape)}. Return a floating-point tensor of this "
            "shape, in [0, 1]."
        )
    if not bool(images.isfinite().all()):
        raise HarnessError(f"{who} returned values that are not finite. Look for a division by zero or a logarithm.")
    low, high = float(images.min()), float(images.max())
    if low < 0 or high > 1:
        raise HarnessError(
            f"{who} returned values from {low:.3g} to {high:.3g}; images lie in [0, 1]. End with images.clamp(0, 1)."
        )
