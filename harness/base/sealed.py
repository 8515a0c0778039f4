"""Files that carry their own hash, so that damage is noticed before anything is made of their bytes.

A seal is `MARK` and the SHA-256 of everything else: of the file with zeros in place of the digits, and of the name that
it was written under. It stands wherever the format leaves room: behind the end of a .npy or .pt file, before the footer
of Parquet, in the header of safetensors. Other programs read such files as ever.
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
"""What stands in a file until it is sealed."""


class Damaged(Exception):
    """A file that is not what was written, with the reason; whoever reads it says so and makes it anew."""


def write(file: Path, content: bytearray | memoryview, place: int, name: str) -> None:
    """Seal content that has a `BLANK` at `place`, and put it on disk whole or not at all. name: see `read`."""
    content[place + len(MARK) : place + len(BLANK)] = _digest(content, place, name)
    with writing(file) as partial:
        partial.write_bytes(content)


def read(file: Path, name: str) -> bytes:
    """The content of a file that was sealed under this name; Damaged for another, FileNotFoundError for none."""
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
    """See `read`; None where there is no such file, or a damaged one, of which a notice is given."""
    try:
        return read(file, name)
    except FileNotFoundError:
        return None
    except Damaged as error:
        warnings.warn(Notice(f"{file} is damaged ({error}) and is computed anew."), stacklevel=2)
        return None


def _digest(content: bytes | bytearray | memoryview, place: int, name: str) -> bytes:
    """Hex digits for content whose seal stands at `place`."""
    digest, view = hashlib.sha256(name.encode() + b"\0"), memoryview(content)
    digest.update(view[:place])
    digest.update(BLANK)
    digest.update(view[place + len(BLANK) :])
    return digest.hexdigest().encode()
