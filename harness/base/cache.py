"""Results in the user's cache folder that can be computed again: a damaged or foreign file counts as absent.

Each result is stored under a mark, a text with everything that decides it, and sealed under it (`harness.base.sealed`).
"""

from __future__ import annotations

import contextlib
import hashlib
from pathlib import Path

from harness.base import sealed
from harness.base.errors import HarnessError
from harness.base.files import cache_folder

LARGEST = 2**29
"""Bytes that are read at most; the list of a million images has a tenth of it."""


def load(kind: str, mark: str, file_name: str = "") -> bytes | None:
    """The content last stored under this kind, mark and file name; None if there is none, or it is damaged."""
    file = _file(kind, mark, file_name)
    with contextlib.suppress(OSError, sealed.Damaged):
        if file.stat().st_size <= LARGEST:
            return sealed.read(file, _digest(mark))[: -len(sealed.BLANK)]
    return None


def store(kind: str, mark: str, content: bytes, file_name: str = "") -> None:
    """Store content for `load`. Without a writable cache folder nothing is stored, and it is computed again next time.

    kind: the folder, below that of all caches. mark: everything that decides the content.
    file_name: results of one name overwrite each other; by default each mark has its own file.
    """
    with contextlib.suppress(HarnessError):
        sealed.write(_file(kind, mark, file_name), bytearray(content + sealed.BLANK), len(content), _digest(mark))


def _file(kind: str, mark: str, file_name: str) -> Path:
    return cache_folder() / kind / (file_name or _digest(mark)[:24])


def _digest(mark: str) -> str:
    # Paths in a mark may hold bytes that are no text.
    return hashlib.sha256(mark.encode(errors="surrogateescape")).hexdigest()
