"""Image files as a batch, for figures of any images."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image

from harness.base.errors import HarnessError
from harness.types import Batch


def files_as_batch(files: Sequence[str]) -> Batch:
    """Image files at their stored size, which must be one; ids are the paths, labels -1.

    Raises HarnessError for files that are no images, and for different sizes.
    """
    arrays = [_pixels(file) for file in files]
    sizes = {array.shape for array in arrays}
    if len(sizes) > 1:
        words = " and ".join(f"{width}x{height}" for height, width, _ in sorted(sizes))
        raise HarnessError(f"The images have different sizes, {words} pixels. Crop them to one.")
    images = torch.from_numpy(np.stack(arrays)).permute(0, 3, 1, 2).float() / 255
    return Batch(tuple(files), images.contiguous(), torch.full((len(files),), -1))


def _pixels(file: str) -> np.ndarray:
    try:
        with Image.open(file) as opened:
            return np.asarray(opened.convert("RGB"))
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        raise HarnessError(f"{file} is no image that can be read ({error}). Give a PNG or JPEG file.") from error
