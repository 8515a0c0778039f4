"""Formats of files, recognised by their first bytes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from harness.base.errors import HarnessError
from harness.base.files import check_regular


def is_page(file: Path) -> bool:
    """True for an HTML page, which a refused download leaves behind."""
    with file.open("rb") as opened:
        return opened.read(512).lstrip()[:1] == b"<"


PAGE = "it is an HTML page. The download was refused or asked for a login."
"""Explanation of such a file, for messages."""


STARTS: Sequence[tuple[bytes, str]] = (
    (b"version https://git-lfs.github.com/spec/", "a Git LFS pointer, not the file itself (git lfs pull fetches it)"),
    (b"PK\x03\x04", "a zip archive, such as .npz, .pt or .pth"),
    (b"PK\x05\x06", "a zip archive with nothing in it"),
    (b"\x1f\x8b", "compressed with gzip"),
    (b"BZh", "compressed with bzip2"),
    (b"\xfd7zXZ\x00", "compressed with xz"),
    (b"\x28\xb5\x2f\xfd", "compressed with zstd"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (b"Rar!\x1a\x07", "a RAR archive"),
    (b"\x93NUMPY", "an array of numpy (.npy)"),
    (b"GGUF", "a GGUF file"),
    (b"PAR1", "a Parquet file"),
    (b"ARROW1", "an Arrow file"),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file"),
    (b"\x80\x02", "a pickle"),
    (b"\x80\x03", "a pickle"),
    (b"\x80\x04", "a pickle"),
    (b"\x80\x05", "a pickle"),
    (b"%PDF-", "a PDF file"),
    (b"%!PS", "a PostScript file"),
    (b"\xc5\xd0\xd3\xc6", "a PostScript file"),
    (b"\x89PNG\r\n\x1a\n", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"GIF8", "a GIF image"),
    (b"SQLite format 3\x00", "a SQLite database"),
    (b"\x7fELF", "a program"),
)
"""First bytes and the format that they mark, in words that follow "it is"."""


STARTED = 512
"""Bytes from the start of a file that `sniff` needs."""


def sniff(start: bytes) -> str | None:
    """The format of a file that begins with these bytes, in words that follow "it is"; None if unknown.

    start: the first `STARTED` bytes. Names do not count: they say what a file was meant to be.
    """
    if not start:
        return "empty"
    if words := next((words for magic, words in STARTS if start.startswith(magic)), None):
        return words
    text = start.removeprefix(b"\xef\xbb\xbf").lstrip()
    if text[:1] == b"<":
        xml = text[:5] == b"<?xml" and b"<html" not in text.lower()
        return "an XML file" if xml else "an HTML page: the download was refused or asked for a login"
    if start[4:8] == b"ftyp":
        return "an image or film in the container of AVIF, HEIC and MP4"
    if start[:4] == b"RIFF":
        return "a WEBP image" if start[8:12] == b"WEBP" else "a RIFF file (sound or film)"
    if start[257:262] == b"ustar":
        return "a tar archive"
    if start[8:10] in (b'{"', b"{}") and int.from_bytes(start[:8], "little") < 2**27:
        return "a safetensors file"
    if not any(start):
        return "all zeros where it begins: it was never written, or its disk lost it"
    return None


def sniff_file(file: Path) -> str | None:
    """`sniff` of a file; None also for a file that cannot be read."""
    try:
        check_regular(file)
        with file.open("rb") as opened:
            return sniff(opened.read(STARTED))
    except (OSError, HarnessError):
        return None
