"""Results in the user's cache folder that can be computed again: a damaged or foreign file counts as absent.

Each result is stored under a mark, a text with everything that decides it, and sealed under it (`harness.base.sealed`).
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from pathlib import Path

from harness.base import sealed
from harness.base.errors import HarnessError
from harness.base.files import cache_folder

UNUSED = 90 * 86_400.0
"""Seconds after which a result that nobody has asked for is deleted."""

KEPT = 2**30
"""Bytes of results of one kind that are kept; beyond, those go that were not asked for the longest time."""

LARGEST = 2**29
"""Bytes that are read at most; the list of a million images has a tenth of it."""


def load(kind: str, mark: str, file_name: str = "") -> bytes | None:
    """The content last stored under this kind, mark and file name; None if there is none, or it is damaged."""
    file = _file(kind, mark, file_name)
    with contextlib.suppress(OSError, sealed.Damaged):
        if file.stat().st_size <= LARGEST:
            content = sealed.read(file, _digest(mark))[: -len(sealed.BLANK)]
            with contextlib.suppress(OSError):  # a cache that can only be read
                os.utime(file)
            return content
    return None


def store(kind: str, mark: str, content: bytes, file_name: str = "") -> None:
    """Store content for `load`. Without a writable cache folder nothing is stored, and it is computed again next time.

    kind: the folder, below that of all caches. mark: everything that decides the content.
    file_name: results of one name overwrite each other; by default each mark has its own file.
    """
    with contextlib.suppress(HarnessError):
        sealed.write(_file(kind, mark, file_name), bytearray(content + sealed.BLANK), len(content), _digest(mark))
        if kind not in _swept:
            _swept.add(kind)
            _sweep(cache_folder() / kind)


_swept: set[str] = set()
"""Kinds that this process has swept: once is enough."""


def _sweep(folder: Path) -> None:
    """Delete results that were not asked for since `UNUSED`, and the oldest ones beyond `KEPT` bytes."""
    states: list[tuple[float, int, Path]] = []
    for file in folder.iterdir():
        with contextlib.suppress(OSError):  # another process may sweep, too
            state = file.stat()
            states.append((state.st_mtime, state.st_size, file))
    size = 0
    for used, bytes_of_file, file in sorted(states, reverse=True):
        size += bytes_of_file
        if size > KEPT or time.time() - used > UNUSED:
            with contextlib.suppress(OSError):
                file.unlink()


def _file(kind: str, mark: str, file_name: str) -> Path:
    return cache_folder() / kind / (file_name or _digest(mark)[:24])


def _digest(mark: str) -> str:
    # Paths in a mark may hold bytes that are no text.
    return hashlib.sha256(mark.encode(errors="surrogateescape")).hexdigest()
