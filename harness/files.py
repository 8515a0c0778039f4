"""Files appear whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import secrets
import stat
import tomllib
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from harness.errors import HarnessError

TEXT_LIMIT = 64 * 2**20
"""Bytes that a file of text or JSON may have: records and manifests are far below, and /dev/zero is not."""


@contextlib.contextmanager
def writing(file: Path) -> Iterator[Path]:
    """A temporary path that becomes `file` if all goes well; a full disk or a locked folder is a clear error."""
    # Processes on several machines may have one number.
    partial = file.with_name(f".{file.name}.{os.getpid()}-{secrets.token_hex(4)}.partial")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        yield partial
        os.replace(partial, file)
    except OSError as error:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        remedy = "Free some space" if full else "Choose a folder you can write to"
        raise HarnessError(
            f"Cannot write {file}: {error.strerror or error}. {remedy} and run the same command again; "
            "everything finished so far is kept."
        ) from error


def check_writable(folder: Path) -> None:
    """Fail before the work, not after it, where results cannot be written."""
    probe = folder / f".write-test-{os.getpid()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.write_bytes(b"")
        probe.unlink(missing_ok=True)
    except OSError as error:
        raise HarnessError(
            f"Cannot write to {folder}: {error.strerror or error}. Choose a folder you can write to with --out."
        ) from error


def check_regular(file: Path) -> None:
    """Raise HarnessError for a pipe, a device or a folder, which would hang or never end; OSError where nothing is."""
    if not stat.S_ISREG(file.stat().st_mode):
        raise HarnessError(f"{file} is a {'folder' if file.is_dir() else 'pipe or device'}, not a file. Give a file.")


def read_limited(file: Path, limit: int = TEXT_LIMIT) -> bytes:
    """A regular file's bytes; HarnessError for other things and for more than `limit` bytes, OSError as `open`."""
    check_regular(file)
    with file.open("rb") as opened:
        content = opened.read(limit + 1)
    if len(content) > limit:
        raise HarnessError(f"{file} has more than {limit:,} bytes, too many for what is expected there.")
    return content


def parse_json(text: str | bytes) -> Any:
    """What JSON says; ValueError whatever is wrong with it, nesting that exhausts the stack included."""
    return _parsed(json.loads, text)


def parse_toml(text: str) -> dict[str, Any]:
    """What TOML says; ValueError whatever is wrong with it, nesting that exhausts the stack included."""
    table: dict[str, Any] = _parsed(tomllib.loads, text)
    return table


def _parsed(parse: Callable[[Any], Any], text: str | bytes) -> Any:
    try:
        return parse(text)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


@lru_cache(maxsize=64)
def _sha256(path: Path, stamp: tuple[int, int]) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes; remembered until the file changes."""
    status = path.stat()
    return _sha256(path, (status.st_mtime_ns, status.st_size))


def is_page(file: Path) -> bool:
    """Whether a file is an HTML page: what a refused download leaves behind."""
    with file.open("rb") as opened:
        return opened.read(512).lstrip()[:1] == b"<"


PAGE = "it is an HTML page. The download was refused or asked for a login."
"""What to say of such a file."""

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
"""Files known by their first bytes."""

STARTED = 512
"""Bytes from the start of a file that `sniff` wants."""


def sniff(start: bytes) -> str | None:
    """What a file is that begins with these bytes (`STARTED` are enough), to follow "it is"; None where unknown.

    Looks at content alone: a name says what a file was meant to be.
    """
    if not start:
        return "empty"
    if known := next((what for magic, what in STARTS if start.startswith(magic)), None):
        return known
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


def what_is(file: Path) -> str | None:
    """`sniff` of a file; None also for one that cannot be read."""
    try:
        check_regular(file)
        with file.open("rb") as opened:
            return sniff(opened.read(STARTED))
    except (OSError, HarnessError):
        return None


def cache_folder() -> Path:
    """Where things are kept that can be made again: ``$XDG_CACHE_HOME/robustness-harness`` or below ``~/.cache``."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "robustness-harness"
