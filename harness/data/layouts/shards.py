"""The members of one tar file, which strangers may have packed: images, their labels, and what is neither."""

from __future__ import annotations

import contextlib
import re
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from harness.base.files import check_regular
from harness.base.parsing import parse_json
from harness.base.signatures import sniff_file
from harness.data.contents import PICTURES, SUFFIXES, is_other
from harness.types import HarnessError

PADDING = 2**20
"""Bytes of zeros that a tar file may end in: tar fills up to a multiple of 10 KiB, tape drives to more."""

MEMBERS = 2**22
"""Members of a shard at most: all of ImageNet's training images with their labels are 2.6 million."""

HEADER = 2**20
"""Bytes of one header at most; long names and extended attributes have some hundred."""

LABELS = {".cls": 2**12, ".json": 2**18}
"""Bytes of a label at most, by what its member's name ends in."""

KEYS = ("label", "cls", "class", "wnid")
"""Where the label may stand in KEY.json."""


@dataclass
class Listing:
    """What a shard holds.

    images: first byte and number of bytes, by key. labels: text and the member that says so, by key.
    side: further members by key, which belong to an image or to nothing. unread: what is not read, and why.
    """

    images: dict[str, tuple[int, int]] = field(default_factory=dict)
    labels: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    side: dict[str, str] = field(default_factory=dict)
    unread: list[str] = field(default_factory=list)


def list_shard(shard: Path) -> tuple[list[dict[str, Any]], list[str]]:
    """A row per image, with key, offset, size and label, in the order of the members; and what is not read.

    Raises HarnessError for a file that is no tar file, is compressed or damaged, or claims what it does not hold.
    """
    found = Listing()
    with _members(shard) as members, shard.open("rb") as file:
        for member in members:
            _sort_in(found, shard, member, file)
    rows = []
    for key, (offset, size) in found.images.items():
        label = _agreed(found, key)
        if label is not None:
            rows.append({"key": key, "offset": offset, "size": size, "label": label})
    for key, said in found.labels.items():
        if key not in found.images:
            found.unread.append(f"{said[0][1]} (a label without an image)")
    found.unread += (name for key, name in found.side.items() if key not in found.images)
    return rows, [f"{shard.name}: {name}" for name in found.unread]


def _sort_in(found: Listing, shard: Path, member: tarfile.TarInfo, file: IO[bytes]) -> None:
    """Put one member where it belongs."""
    key, ending = _split(member.name)
    base = member.name.rpartition("/")[2]
    if member.isdir() or not key.rpartition("/")[2]:  # hidden files, such as macOS leaves in archives
        return
    if not member.isfile():
        raise HarnessError(f"{shard}: {member.name} is a link or a device, not a file. Pack the files themselves.")
    if ending.endswith(SUFFIXES):
        if key in found.images:
            raise HarnessError(f"{shard} holds two images {key}.*: in this layout a key has one. Rename them.")
        found.images[key] = (member.offset_data, member.size)
    elif ending in LABELS:
        label = _label(shard, member, ending, file)
        if label is not None:
            found.labels.setdefault(key, []).append((label, member.name))
        else:
            found.side.setdefault(key, "") if is_other(base) else found.side.setdefault(key, member.name)
    elif ending.endswith(PICTURES):
        found.unread.append(f"{member.name} (no format that is read)")
    elif not is_other(base):
        found.side.setdefault(key, member.name)


def _agreed(found: Listing, key: str) -> str | None:
    """The label of an image; None where there is none, or several that disagree, which is noted."""
    said = found.labels.get(key) or [(label, "") for label in _named(key)]
    if len({label for label, _ in said}) == 1 and said[0][0]:
        return said[0][0]
    if said and not said[0][0]:
        reason = f"{said[0][1]} is empty"
    elif said:
        reason = "its labels disagree: " + ", ".join(f"{label!r} in {member}" for label, member in said[:2])
    else:
        reason = "no label: KEY.cls or KEY.json must stand beside it"
    found.unread.append(f"{key} ({reason})")
    return None


class _Headers:
    """A tar file of which only headers are read: tarfile would read as many bytes as a header claims to have."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self._ended = file, 0
        self.seek, self.tell = file.seek, file.tell

    def read(self, size: int = -1) -> bytes:
        """So many bytes of a header."""
        if not 0 <= size <= HEADER:
            raise tarfile.ReadError(f"it has a header of {size:,} bytes")
        content = self._file.read(size)
        # Beyond the end tarfile asks once more; a header that never ends would have it ask for ever.
        self._ended += not content
        if self._ended > 3:
            raise tarfile.ReadError("it ends within a header")
        return content


@contextlib.contextmanager
def _members(shard: Path) -> Iterator[Iterator[tarfile.TarInfo]]:
    """The members of a tar file to run through, each of them checked; raises HarnessError, saying what is wrong."""
    try:
        check_regular(shard)
        with shard.open("rb") as file, tarfile.open(fileobj=_Headers(file), mode="r:") as tar:  # type: ignore[call-overload]
            yield _checked(shard, tar)
            end = tar.offset
        if not _ends(shard, end):  # tarfile takes a damaged header for the end, and one that was lost
            raise tarfile.ReadError(f"it breaks off after {end} of {shard.stat().st_size} bytes")
    except HarnessError:
        raise
    except Exception as error:  # tarfile's parser has errors of its own: OverflowError, ValueError, RecursionError
        known = sniff_file(shard)
        said = f"{error or type(error).__name__}. Fetch it again, or pack it anew."
        packed = "compressed" in (known or "")
        said = f"it is {known}, which leaves no random access. Unpack it, for instance with gunzip." if packed else said
        said = f"it is {known}. Fetch it again." if known and not packed and known != "a tar archive" else said
        raise HarnessError(f"{shard} is not a readable tar file: {said}") from error


def _checked(shard: Path, tar: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """The members, as far as they lie in the file one after the other and are what they seem."""
    size, place = shard.stat().st_size, 0
    for number, member in enumerate(tar):
        if number >= MEMBERS:
            raise HarnessError(f"{shard} has more than {MEMBERS:,} members. Pack several smaller ones.")
        if member.issparse():
            raise HarnessError(f"{shard}: {member.name} is a sparse member. Pack it anew, without --sparse.")
        if not (place <= member.offset_data and 0 <= member.size <= size - member.offset_data):
            raise HarnessError(
                f"{shard}: {member.name} claims {member.size:,} bytes, which are not there. Fetch it again."
            )
        try:
            member.name.encode()
        except UnicodeEncodeError as error:
            raise HarnessError(f"{shard}: the name of {member.name!a} is not in UTF-8. Rename it.") from error
        place = member.offset_data
        tar.members = []  # type: ignore[attr-defined]  # they would fill the memory
        yield member


def _ends(shard: Path, end: int) -> bool:
    """Whether from this byte on there is what ends a tar file: at least one block of zeros, and nothing else."""
    with shard.open("rb") as file:
        file.seek(end)
        rest = file.read(PADDING + 1)
    return tarfile.BLOCKSIZE <= len(rest) <= PADDING and not any(rest)


def _split(name: str) -> tuple[str, str]:
    """Key and ending of a member: the file's name is split at its first dot, as webdataset does."""
    folder, slash, file = name.removeprefix("./").rpartition("/")
    stem, dot, ending = file.partition(".")
    return folder + slash + stem, (dot + ending).lower()


def _label(shard: Path, member: tarfile.TarInfo, ending: str, file: IO[bytes]) -> str | None:
    """What KEY.cls or KEY.json says: a name or a number; "" for an empty one, None for JSON without a label."""
    where = f"{shard}: {member.name}"
    if member.size > LABELS[ending]:
        raise HarnessError(f"{where} has {member.size:,} bytes; a label has {LABELS[ending]:,} at most. Pack it anew.")
    file.seek(member.offset_data)
    content = file.read(member.size)
    try:
        text = content.decode("utf-8-sig").strip()
        if ending == ".cls":
            if len(text.splitlines()) > 1:
                raise HarnessError(f"{where} has several lines; a label is one. Pack it anew.")
            return text
        said = parse_json(text) if text else ""
        label = next((said[key] for key in KEYS if key in said), None) if isinstance(said, dict) else said
    except ValueError as error:
        raise HarnessError(f"{where} holds no label; expected JSON with one of {', '.join(KEYS)}.") from error
    return str(label).strip() if isinstance(label, str | int) and not isinstance(label, bool) else None


def _named(key: str) -> list[str]:
    """The label of an image that has none beside it: its folder, or the WordNet id that its name begins with."""
    folder, _, file = key.rpartition("/")
    wnid = re.match(r"n\d{8}(?=_)", file)
    label = wnid.group() if wnid else folder.rpartition("/")[2]
    return [label] if label else []
