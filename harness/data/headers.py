"""Checks of image headers that would cost memory or hours before Pillow reports an image's size."""

from __future__ import annotations

import contextlib
import io
import os
import struct
from typing import IO

SCANS = 100
"""Scans of a progressive JPEG: encoders write about ten, and each is a pass over all pixels."""

PIECE = 2**20
"""Bytes that are searched for scans at a time."""

TAGS = 2**27
"""Bytes that Pillow may copy out of a small file for its tags: damaged EXIF names the same bytes more than once."""

SEGMENTS = 2**16
"""Steps from one marker to the next, at most, before the pixels of a JPEG."""

PROGRESSIVE = (0xC2, 0xC6, 0xCA, 0xCE)
"""Markers of a JPEG's frame in several scans."""

BARE = (0x01, 0xC8, *range(0xD0, 0xDA), *range(0xF0, 0xFE))
"""Markers without a length, as Pillow reads them."""

TAG_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
"""Bytes per value of TIFF's types."""

FURTHER = (34665, 34853, 40965)
"""Tags that lead to further lists of tags: EXIF, GPS, interoperability."""

TILE_SIDES = (322, 323)
"""Tags with the width and height of a TIFF's tiles."""


def check_headers(encoded: IO[bytes], start: bytes, most: int) -> None:
    """Raise ValueError for an image that claims more than `most` pixels where Pillow would allocate before it checks.

    start: its first bytes. most: pixels. The file is left at its beginning.
    """
    try:
        if start[:4] == b"RIFF" and start[8:12] == b"WEBP":
            _check_webp(start, most)
        elif start[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
            _check_tags(encoded, _size(encoded), most)
        elif start[:3] == b"\xff\xd8\xff":
            _check_jpeg(encoded, most)
    except struct.error as error:
        raise ValueError("its header is cut short") from error
    finally:
        encoded.seek(0)


def _check_webp(start: bytes, most: int) -> None:
    """Check the size of the canvas: Pillow makes two when it opens the file."""
    kind, body = start[12:16], start[20:30].ljust(10, b"\0")
    if kind == b"VP8X":
        width, height = (int.from_bytes(body[k : k + 3], "little") + 1 for k in (4, 7))
    elif kind == b"VP8L":
        bits = int.from_bytes(body[1:5], "little")
        width, height = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    else:
        width, height = (int.from_bytes(body[k : k + 2], "little") & 0x3FFF for k in (6, 8))
    if width * height > most:
        raise ValueError(f"it has {width}x{height} pixels, more than {most:,}")


def _check_tags(file: IO[bytes], size: int, most: int) -> None:
    """Check TIFF's lists of tags, such as EXIF: Pillow copies each tag's values, and all may name the same bytes.

    file: a TIFF of `size` bytes. Values beyond its end do not count: cameras write such tags, too.
    """
    file.seek(0)
    head = file.read(16)
    order = "<" if head[:2] == b"II" else ">"
    wide = struct.unpack_from(f"{order}H", head, 2)[0] == 43
    entry, count, pointer = (f"{order}HHQ8s", "Q", "Q") if wide else (f"{order}HHL4s", "H", "L")
    waiting = list(struct.unpack_from(f"{order}{pointer}", head, 8 if wide else 4))
    seen: set[int] = set()
    copied, sides = 0, [1, 1]
    while waiting:
        offset = waiting.pop()
        if offset in seen or offset >= size:
            continue
        first = not seen
        seen.add(offset)
        file.seek(offset)
        (rows,) = struct.unpack(f"{order}{count}", file.read(struct.calcsize(f"{order}{count}")))
        if rows > 65_535:
            raise ValueError(f"it claims to have {rows} tags")
        packed = file.read(rows * struct.calcsize(entry))
        complete = len(packed) // struct.calcsize(entry) * struct.calcsize(entry)
        for tag, kind, values, value in struct.iter_unpack(entry, packed[:complete]):
            (place,) = struct.unpack(f"{order}{pointer}", value)
            copied += min(TAG_BYTES.get(kind, 0) * values, max(size - place, 0))
            if tag in FURTHER:
                waiting.append(place)
            if first and tag in TILE_SIDES:
                sides[TILE_SIDES.index(tag)] = struct.unpack_from(f"{order}H", value)[0] if kind == 3 else place
    if copied > TAGS + size:
        raise ValueError(f"its tags name {copied:,} bytes in a file of {size:,}")
    if sides[0] * sides[1] > most:
        raise ValueError(f"it has tiles of {sides[0]}x{sides[1]} pixels, more than {most:,}")


def _check_jpeg(encoded: IO[bytes], most: int) -> None:
    """Check the segments before the pixels: the EXIF tags, and the number of scans of a progressive image."""
    place, end, steps, exif = 2, _size(encoded), 0, b""
    while place + 4 <= end:
        steps += 1
        if steps > SEGMENTS:
            raise ValueError("its header does not end")
        encoded.seek(place)
        head = encoded.read(10)
        if head[0] != 0xFF or head[1] in (0, 0xFF):  # Pillow looks for the next marker, too
            place += 1
        elif head[1] in BARE:
            place += 2
        elif head[1] == 0xDA:
            break
        else:
            length = int.from_bytes(head[2:4], "big")
            if head[1] == 0xE1 and head[4:10] == b"Exif\0\0":
                exif += encoded.read(length - 8)
            if head[1] in PROGRESSIVE and _scans(encoded) > SCANS:
                raise ValueError(f"it is a progressive JPEG of more than {SCANS} scans")
            place += 2 + length
    with contextlib.suppress(struct.error):  # Pillow ignores damaged EXIF
        _check_tags(io.BytesIO(exif), len(exif), most)


def _scans(encoded: IO[bytes]) -> int:
    """The number of markers that begin a scan; the data of a scan contain none."""
    encoded.seek(0)
    scans = 0
    last = b""
    while piece := encoded.read(PIECE):
        scans += (last + piece).count(b"\xff\xda")
        last = piece[-1:] if piece[-1:] == b"\xff" else b""
    return scans


def _size(encoded: IO[bytes]) -> int:
    return encoded.seek(0, os.SEEK_END)
