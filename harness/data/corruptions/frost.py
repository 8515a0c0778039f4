"""Frost: a window cut out of a picture of ice, blended over the image.

The authors' five photographs are not distributed with this project. Given a folder that holds them, they are used;
otherwise ice is drawn. The two are different benchmarks: a record names which by `frost_source`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from scipy import ndimage
from torch import Tensor

from harness.base.files import check_regular
from harness.data.corruptions.common import Rng, interpolate
from harness.data.corruptions.constants import FROST_SCALE, Constants
from harness.types import HarnessError

PROCEDURAL = "procedural-1"
"""Name of the drawn ice; it changes with any drawn pixel."""

FILES = ("frost1.png", "frost2.png", "frost3.png", "frost4.jpg", "frost5.jpg")
"""The authors' pictures. They list a sixth, but choose among the first five."""

LARGEST = 2**26
"""Pixels of a photograph at most."""

TONES = (
    ((78, 149, 166), 5, 16),
    ((201, 205, 215), 10, 19),
    ((201, 205, 215), 10, 19),
    ((138, 153, 165), 14, 24),
    ((112, 123, 135), 26, 32),
)
"""For each drawn picture: mean colour; standard deviation, in levels, of its slow light and of its crystals."""


def frost_source(frost: Path | None) -> str:
    """Provenance of the ice, for records: "procedural-1", or "original:" and the SHA-256 of the five files in order.

    Raises HarnessError if the folder lacks one of them.
    """
    if frost is None:
        return PROCEDURAL
    digest = hashlib.sha256()
    for path in _originals(frost):
        digest.update(path.read_bytes())
    return f"original:{digest.hexdigest()}"


def frost(images: Tensor, c: Constants, rngs: Sequence[Rng], *, folder: Path | None = None) -> Tensor:
    """c[0] times the image plus c[1] times a random window of one of the five pictures, in levels."""
    keep, cover = c
    side = images.shape[-1]
    available = pictures(folder, FROST_SCALE[side])
    windows = []
    for rng in rngs:
        picture = available[int(rng.integers(0, len(available)))]
        top, left = (int(rng.integers(0, extent - side)) for extent in picture.shape[1:])
        windows.append(picture[:, top : top + side, left : left + side])
    return keep * images.double() + cover * torch.stack(windows).double()


@lru_cache(maxsize=8)
def pictures(folder: Path | None, scale: float) -> tuple[Tensor, ...]:
    """The five pictures (3, H, W) uint8: the originals in `folder` or, for None, drawn ones; resized by `scale`."""
    full = [_drawn(i) for i in range(len(TONES))] if folder is None else [_opened(path) for path in _originals(folder)]
    return tuple(_resized(picture, scale) for picture in full)


def _originals(folder: Path) -> list[Path]:
    paths = [folder / name for name in FILES]
    missing = [path.name for path in paths if not path.is_file()]
    if missing:
        raise HarnessError(
            f"frost: {', '.join(missing)} not found in {folder}. Copy {', '.join(FILES)} there from "
            "https://github.com/hendrycks/robustness (ImageNet-C/create_c), or leave the folder out to use drawn ice."
        )
    return paths


def _opened(path: Path) -> Tensor:
    try:
        check_regular(path)
        with Image.open(path, formats=("JPEG", "PNG")) as opened:
            if opened.width * opened.height > LARGEST:
                raise HarnessError(f"frost: {path} has more than {LARGEST:,} pixels. Copy it again.")
            image = opened.convert("RGB")
    except (OSError, Image.DecompressionBombError) as error:
        raise HarnessError(f"frost: {path} is not a readable image ({error}). Copy it again.") from error
    return torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1)


def _resized(picture: Tensor, scale: float) -> Tensor:
    """Bilinear without antialiasing and with aligned outer edges, as cv2.resize does it: to one level."""
    if scale == 1:
        return picture
    x = picture.double()
    for dim in (1, 2):
        positions = (torch.arange(round(x.shape[dim] * scale), dtype=torch.float64) + 0.5) / scale - 0.5
        x = interpolate(x, positions, dim)
    return x.round().to(torch.uint8)


@lru_cache(maxsize=len(TONES))
def _drawn(index: int, height: int = 480, width: int = 640, directions: int = 10, grain: int = 400) -> Tensor:
    """Ice (3, H, W) uint8: patches of parallel needles, each patch with its own direction, under uneven light."""
    colour, light, crystal = TONES[index]
    rng = np.random.Generator(np.random.Philox(key=index))

    # One field of needles per direction: white noise, smoothed along the direction and little across it.
    fy, fx = np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None]
    noise = np.fft.rfft2(rng.standard_normal((height, width)))
    needles = []
    for angle in np.arange(directions) * (np.pi / directions):
        along, across = fx * np.cos(angle) + fy * np.sin(angle), fy * np.cos(angle) - fx * np.sin(angle)
        field = np.fft.irfft2(noise * np.exp(-2 * np.pi**2 * ((7 * along) ** 2 + (0.6 * across) ** 2)), (height, width))
        needles.append(field / field.std())

    # Patches: every pixel belongs to the nearest of some random seeds.
    seeds = np.ones((height, width), dtype=bool)
    seeds[rng.integers(0, height, grain), rng.integers(0, width, grain)] = False
    rows, columns = ndimage.distance_transform_edt(seeds, return_distances=False, return_indices=True)
    choice = rng.integers(0, directions, (height, width))[rows, columns]
    shade = rng.normal(0, 0.6, (height, width))[rows, columns]
    ice = np.take_along_axis(np.stack(needles), choice[None], axis=0)[0]
    ice = ndimage.gaussian_filter(ice + shade, 0.5, mode="wrap")
    slow = ndimage.gaussian_filter(rng.standard_normal((height, width)), 40, mode="wrap")

    relief = light * slow / slow.std() + crystal * (ice - ice.mean()) / ice.std()
    return torch.from_numpy((np.reshape(colour, (3, 1, 1)) + relief).clip(0, 255).astype(np.uint8))
