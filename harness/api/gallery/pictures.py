"""Pictures of images as WebP files, named by the hash of their pixels."""

from __future__ import annotations

import io
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from harness.base.files import writing
from harness.report.gallery.contents import Shot, file_of, pixels_sha256

SMALL = 64
"""Images up to this side are kept pixel by pixel; larger ones are made smaller."""

WIDEST, QUALITY = 128, 80
"""Longer side of pictures of large images, in pixels, and WebP's quality of these."""


def drawn(image: Tensor, folder: Path) -> Shot:
    """Write the picture of an image (3, H, W) in [0, 1] into a folder, unless it is there; a view without answers.

    Small images are lossless, rounded to 8 bits. The pixels of large ones are those that WebP gives back.
    """
    levels = (image.clamp(0, 1) * 255).round().to(torch.uint8).permute(1, 2, 0).contiguous().numpy()
    content, picture = _encoded(Image.fromarray(levels, "RGB"))
    pixels = pixels_sha256(picture)
    file = folder / file_of(pixels)
    if not file.is_file() or file.read_bytes() != content:
        with writing(file) as partial:
            partial.write_bytes(content)
    return Shot("", pixels, picture.width, picture.height, ())


def _encoded(picture: Image.Image) -> tuple[bytes, Image.Image]:
    """The WebP file of a picture, and the picture that it holds."""
    buffer = io.BytesIO()
    if max(picture.size) <= SMALL:
        picture.save(buffer, "WEBP", lossless=True, quality=100, method=6, exact=True)
        return buffer.getvalue(), picture
    picture.thumbnail((WIDEST, WIDEST), Image.Resampling.LANCZOS)
    picture.save(buffer, "WEBP", quality=QUALITY, method=6)
    with Image.open(io.BytesIO(buffer.getvalue())) as opened:
        return buffer.getvalue(), opened.convert("RGB")
