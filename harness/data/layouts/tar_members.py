"""Members of one untrusted tar file: images, their labels, and others."""

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
from harness.data.folder_contents import PICTURES, SUFFIXES, is_other
from harness.types import HarnessError

PADDING = 2**20
"""Zero bytes at the end of a tar file, at most: tar fills up to a multiple of 10 KiB, tape drives to more."""

MEMBERS = 2**22
"""Members of a shard at most: all of ImageNet's training images with their labels are 2.6 million."""

HEADER = 2**20
"""Bytes of one header at most; long names and extended attributes have some hundred."""

LABELS = {".cls": 2**12, ".json": 2**18}
"""Bytes of a label at most, by the suffix of its member."""

KEYS = ("label", "cls", "class", "wnid")
"""Names of the label in KEY.json."""


@dataclass
class ShardListing:
    """The content of a shard.

    images: first byte and number of bytes, by key. labels: texts, each with the name of its member, by key.
    side: further members by key, which may belong to an image. unread: members that are not read, with the reason.
    """

    images: dict[str, tuple[int, int]] = field(default_factory=dict)
    labels: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    side: dict[str, str] = field(default_factory=dict)
    unread: list[str] = field(default_factory=list)


def list_shard(shard: Path) -> tuple[list[dict[str, Any]], list[str]]:
    """A row per image, with key, offset, size and label, in the order of the members; and the members not read.

    Raises HarnessError for a file that is no tar file, is compressed or damaged, or claims more than it holds.
    """
    listing = ShardListing()
    with _members(shard) as members, shard.open("rb") as file:
        for member in members:
            _sort_in(listing, shard, member, file)
    rows = []
    for key, (offset, size) in listing.images.items():
        label = _agreed(listing, key)
        if label is not None:
            rows.append({"key": key, "offset": offset, "size": size, "label": label})
    for key, labels in listing.labels.items():
        if key not in listing.images:
            listing.unread.append(f"{labels[0][1]} (a label without an image)")
    listing.unread += (name for key, name in listing.side.items() if key not in listing.images)
    return rows, [f"{shard.name}: {name}" for name in listing.unread]


def _sort_in(listing: ShardListing, shard: Path, member: tarfile.TarInfo, file: IO[bytes]) -> None:
    """Enter one member into the listing; raises HarnessError for links, devices and a second image of one key."""
    key, ending = _split(member.name)
    base = member.name.rpartition("/")[2]
    if member.isdir() or not key.rpartition("/")[2]:  # hidden files, such as macOS leaves in archives
        return
    if not member.isfile():
        raise HarnessError(f"{shard}: {member.name} is a link or a device, not a file. Pack the files themselves.")
    if ending.endswith(SUFFIXES):
        if key in listing.images:
            raise HarnessError(f"{shard} holds two images {key}.*: in this layout a key has one. Rename them.")
        listing.images[key] = (member.offset_data, member.size)
    elif ending in LABELS:
        label = _label(shard, member, ending, file)
        if label is not None:
            listing.labels.setdefault(key, []).append((label, member.name))
        else:
            listing.side.setdefault(key, "") if is_other(base) else listing.side.setdefault(key, member.name)
    elif ending.endswith(PICTURES):
        listing.unread.append(f"{member.name} (no format that is read)")
    elif not is_other(base):
        listing.side.setdefault(key, member.name)


def _agreed(listing: ShardListing, key: str) -> str | None:
    """The label of an image; None, with an entry in `unread`, if there is none or several disagree."""
    labels = listing.labels.get(key) or [(label, "") for label in _named(key)]
    if len({label for label, _ in labels}) == 1 and labels[0][0]:
        return labels[0][0]
    if labels and not labels[0][0]:
        reason = f"{labels[0][1]} is empty"
    elif labels:
        reason = "its labels disagree: " + ", ".join(f"{label!r} in {member}" for label, member in labels[:2])
    else:
        reason = "no label: KEY.cls or KEY.json must stand beside it"
    listing.unread.append(f"{key} ({reason})")
    return None


class _Headers:
    """A tar file for reading headers alone: tarfile would read as many bytes as a header claims to have."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self._ended = file, 0
        self.seek, self.tell = file.seek, file.tell

    def read(self, size: int = -1) -> bytes:
        """The next `size` bytes of a header; raises ReadError for more than `HEADER`, and beyond the end."""
        if not 0 <= size <= HEADER:
            raise tarfile.ReadError(f"it has a header of {size:,} bytes")
        content = self._file.read(size)
        # At the end tarfile asks once more; with a header that never ends it would ask for ever.
        self._ended += not content
        if self._ended > 3:
            raise tarfile.ReadError("it ends within a header")
        return content


@contextlib.contextmanager
def _members(shard: Path) -> Iterator[Iterator[tarfile.TarInfo]]:
    """An iterator over the checked members of a tar file; raises HarnessError, with the reason, for a faulty one."""
    try:
        check_regular(shard)
        with shard.open("rb") as file, tarfile.open(fileobj=_Headers(file), mode="r:") as tar:  # type: ignore[call-overload]
            yield _checked(shard, tar)
            end = tar.offset
        if not _ends(shard, end):  # tarfile takes a damaged or missing header for the end
            raise tarfile.ReadError(f"it breaks off after {end} of {shard.stat().st_size} bytes")
    except HarnessError:
        raise
    except Exception as error:  # tarfile's parser also raises OverflowError, ValueError, RecursionError
        raise HarnessError(f"{shard} is not a readable tar file: {_fault(shard, error)}") from error


def _fault(shard: Path, error: Exception) -> str:
    """The reason why a tar file cannot be read, and the remedy."""
    kind = sniff_file(shard)
    if kind and "compressed" in kind:
        return f"it is {kind}, which leaves no random access. Unpack it, for instance with gunzip."
    if kind and kind != "a tar archive":
        return f"it is {kind}. Fetch it again."
    return f"{error or type(error).__name__}. Fetch it again, or pack it anew."


def _checked(shard: Path, tar: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """The members in the order of the file; raises HarnessError for one that overlaps another or exceeds the file."""
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
    """True if a tar file ends properly at this byte: at least one block of zeros follows, and nothing else."""
    with shard.open("rb") as file:
        file.seek(end)
        rest = file.read(PADDING + 1)
    return tarfile.BLOCKSIZE <= len(rest) <= PADDING and not any(rest)


def _split(name: str) -> tuple[str, str]:
    """Key and suffix of a member: the file's name is split at its first dot, as webdataset does."""
    folder, slash, file = name.removeprefix("./").rpartition("/")
    stem, dot, ending = file.partition(".")
    return folder + slash + stem, (dot + ending).lower()


def _label(shard: Path, member: tarfile.TarInfo, ending: str, file: IO[bytes]) -> str | None:
    """The label in KEY.cls or KEY.json, a name or a number; "" for an empty file, None for JSON without a label."""
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
        value = parse_json(text) if text else ""
        label = next((value[key] for key in KEYS if key in value), None) if isinstance(value, dict) else value
    except ValueError as error:
        raise HarnessError(f"{where} holds no label; expected JSON with one of {', '.join(KEYS)}.") from error
    return str(label).strip() if isinstance(label, str | int) and not isinstance(label, bool) else None


def _named(key: str) -> list[str]:
    """The label of an image without a label beside it: the WordNet id at the start of its name, or its folder."""
    folder, _, file = key.rpartition("/")
    wnid = re.match(r"n\d{8}(?=_)", file)
    label = wnid.group() if wnid else folder.rpartition("/")[2]
    return [label] if label else []
