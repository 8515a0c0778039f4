"""Pixels from the bytes of one untrusted image: known formats, bounded sizes, 8 bits per channel.

Pixels are those of ``Image.open(file).convert("RGB")``, as in torchvision's ImageFolder: the EXIF orientation is
ignored (a TIFF's own is not), alpha is dropped and not composited. 16 bits per channel become v >> 8.
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
from PIL import Image, ImageFile, UnidentifiedImageError

from harness.base.files import check_regular
from harness.base.signatures import STARTED, sniff
from harness.data.headers import check_headers
from harness.types import BadImage, HarnessError

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "PPM", "TIFF")
"""Formats that Pillow may recognise. It goes by content, and would start Ghostscript for an EPS file named .png."""

LARGEST = 2**26
"""Pixels of an image at most: 67 million, as ImageNet's training set holds a few of about 61 million."""

LARGE = 2**22
"""Images with more pixels are decoded by one thread at a time, which bounds the memory of all threads together."""

for kind in (Image.DecompressionBombWarning, UserWarning):
    # This module checks sizes; the other warning is about transparent palettes, whose transparency is dropped.
    message = "" if kind is Image.DecompressionBombWarning else "Palette images with Transparency"
    warnings.filterwarnings("ignore", message=message, category=kind)


def regular(path: Path) -> IO[bytes]:
    """An image file, open; raises BadImage for a pipe, a device or a folder, and OSError as `open` does."""
    try:
        check_regular(path)
    except HarnessError as error:
        raise BadImage(str(error)) from error
    return path.open("rb")


def header(encoded: IO[bytes]) -> Image.Image:
    """An image with only its header read. Raises ValueError for an image that is too large or of another format."""
    # Checked before Pillow sees anything: it allocates memory by what a header claims.
    start = encoded.read(STARTED)
    encoded.seek(0)
    check_headers(encoded, start, LARGEST)
    # OpenOOD sets this to True on import, which would accept truncated images.
    ImageFile.LOAD_TRUNCATED_IMAGES = False
    try:
        image = Image.open(encoded, formats=FORMATS)
    except UnidentifiedImageError as error:
        kind = sniff(start)
        raise ValueError(f"it is {kind}" if kind else "its format is unknown") from error
    except Image.DecompressionBombError as error:
        raise ValueError(TOO_MANY) from error
    if image.width * image.height > LARGEST:
        raise ValueError(TOO_MANY)
    return image


TOO_MANY = f"it has more than {LARGEST:,} pixels"
"""Fault of an image that is too large, for messages."""


def rgb(encoded: IO[bytes]) -> Image.Image:
    """A decoded image, 8 bits per channel. Raises ValueError for an unsupported image, and any error of Pillow's."""
    image = header(encoded)
    if image.width * image.height > LARGE:
        _turn.take()
    return _eight_bits(image, encoded).convert("RGB")


def _eight_bits(image: Any, encoded: IO[bytes]) -> Image.Image:
    """An image of 16 bits per channel as v >> 8; others as they are. Pillow does this for RGB images, except PPM."""
    if image.format == "PPM" and image.tile[0][0].startswith("ppm"):
        return _deep_ppm(image, encoded)
    if image.mode == "F" or (image.mode == "I" and image.format not in ("PNG", "PPM")):
        raise ValueError("it has 32 bits per channel, which have no agreed range. Save it with 8 or 16")
    if image.mode != "I" and not image.mode.startswith("I;16"):
        return image
    if image.format == "TIFF" and (bits := image.tag_v2.get(258)) != (16,):
        raise ValueError(f"it has {bits} bits per channel. Save it with 8 or 16")
    return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))


def _deep_ppm(image: Any, encoded: IO[bytes]) -> Image.Image:
    """An image from a PPM file of 16 bits as v >> 8: Pillow would round RGB values, v * 255 / 65535."""
    codec, _, offset, (*_, most) = image.tile[0][:4]
    if most <= 255:
        return image
    if most != 65535 or codec == "ppm_plain":
        raise ValueError(f"it is a PPM of numbers up to {most}. Save it with 8 or 16 bits per channel, in binary")
    encoded.seek(offset)
    shape = (image.height, image.width, len(image.getbands()))
    data = encoded.read(2 * int(np.prod(shape)))
    if len(data) < 2 * int(np.prod(shape)):
        raise ValueError("image file is truncated")
    return Image.fromarray((np.frombuffer(data, ">u2").reshape(shape) >> 8).astype(np.uint8))


class _Turn(threading.local):
    """Each thread's state: whether it is inside `one_at_a_time`, and whether it holds the lock of large images."""

    lock = threading.Lock()
    inside = False
    held = False

    def take(self) -> None:
        """Wait until no other thread holds a large image; outside `one_at_a_time` return at once."""
        if self.inside and not self.held:
            self.lock.acquire()
            self.held = True


_turn = _Turn()


@contextmanager
def one_at_a_time() -> Iterator[None]:
    """A block in which a large image is decoded and made smaller only after those of other threads."""
    _turn.inside = True
    try:
        yield
    finally:
        _turn.inside = False
        if _turn.held:
            _turn.held = False
            _turn.lock.release()


@contextmanager
def naming(where: str) -> Iterator[None]:
    """Turn any error of a disk or a codec into a BadImage that names the image. where: its place."""
    try:
        yield
    except BadImage:
        raise
    except Exception as error:  # every codec raises different errors
        reason: Any = getattr(error, "strerror", None) or error
        text = " ".join(str(reason).split()).rstrip(". ") or type(error).__name__
        raise BadImage(f"{where} is not a readable image ({text}). Repair or replace it.") from error
