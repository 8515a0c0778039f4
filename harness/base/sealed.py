"""Files that carry their own hash: damage is noticed before anything is made of their bytes.

A seal is `MARK` and a SHA-256 in hex digits: of the file with zeros for these digits, and of the name that it was
written under. It stands wherever the format leaves room: after the end of a .npy or .pt file, before the footer of
Parquet, in the header of safetensors. Other programs read such files as before.
"""

from __future__ import annotations

import hashlib
import warnings
from pathlib import Path

from harness.base.errors import HarnessError, Notice
from harness.base.files import check_regular, writing

MARK = b"harness-sha256:"
DIGITS = 64
BLANK = MARK + b"0" * DIGITS
"""The seal of content that is about to be written: `write` fills in the digits."""


class Damaged(Exception):
    """A file that is not as it was written, with the reason. Callers report it and compute its content anew."""


def write(file: Path, content: bytearray | memoryview, place: int, name: str) -> None:
    """Seal content that has a `BLANK` at byte `place`, and write it to disk in full or not at all. name: see `read`."""
    content[place + len(MARK) : place + len(BLANK)] = _digest(content, place, name)
    with writing(file) as partial:
        partial.write_bytes(content)


def read(file: Path, name: str) -> bytes:
    """The content of a file, seal included; Damaged unless sealed under this name, FileNotFoundError if absent."""
    try:
        check_regular(file)
        content = file.read_bytes()
    except FileNotFoundError:
        raise
    except (OSError, HarnessError) as error:
        raise Damaged(str(error)) from error
    place = content.rfind(MARK)
    if place < 0:
        raise Damaged("it holds no hash: cut short, changed, or of an older version")
    if content[place + len(MARK) : place + len(BLANK)] != _digest(content, place, name):
        raise Damaged("its hash does not agree with its content and name")
    return content


def read_or_tell(file: Path, name: str) -> bytes | None:
    """The content of a file as `read` gives it; None if it is absent, or damaged, which the user is told."""
    try:
        return read(file, name)
    except FileNotFoundError:
        return None
    except Damaged as error:
        warnings.warn(Notice(f"{file} is damaged ({error}) and is computed anew."), stacklevel=2)
        return None


def _digest(content: bytes | bytearray | memoryview, place: int, name: str) -> bytes:
    """The hex digits of the seal for content that has it at byte `place`."""
    digest, view = hashlib.sha256(name.encode() + b"\0"), memoryview(content)
    digest.update(view[:place])
    digest.update(BLANK)
    digest.update(view[place + len(BLANK) :])
    return digest.hexdigest().encode()
