"""Lists in the user's cache folder that can be made again: one that is damaged, or is another's, is as good as none."""

from __future__ import annotations

import contextlib
import hashlib
from pathlib import Path

from harness.base.files import cache_folder, read_limited, writing
from harness.types import HarnessError

LARGEST = 2**29
"""Bytes of a list; that of a million images has a tenth of it."""


def load(kind: str, mark: str) -> bytes | None:
    """What was stored under `mark`, which says all that decides it; None where nothing was, or it is damaged."""
    with contextlib.suppress(OSError, HarnessError):
        digest, _, content = read_limited(_file(kind, mark), LARGEST).partition(b"\n")
        if digest == _digest(mark, content):
            return content
    return None


def store(kind: str, mark: str, content: bytes) -> None:
    """Keep a list together with its hash; where nothing can be kept, it is made again the next time."""
    with contextlib.suppress(HarnessError), writing(_file(kind, mark)) as partial:
        partial.write_bytes(_digest(mark, content) + b"\n" + content)


def _digest(mark: str, content: bytes) -> bytes:
    return hashlib.sha256(_encoded(mark) + b"\n" + content).hexdigest().encode()


def _file(kind: str, mark: str) -> Path:
    return cache_folder() / kind / hashlib.sha256(_encoded(mark)).hexdigest()[:24]


def _encoded(mark: str) -> bytes:
    """Paths may hold bytes that are no text."""
    return mark.encode(errors="surrogateescape")
