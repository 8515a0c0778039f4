"""Shards of the webdataset layout: tar files in which KEY.jpg stands beside KEY.cls or KEY.json."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import re
import tarfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from harness.data.pictures import SUFFIXES
from harness.files import PAGE, cache_folder, is_page, writing
from harness.types import HarnessError

ROWS = pa.schema([("key", pa.string()), ("offset", pa.int64()), ("size", pa.int64()), ("label", pa.string())])
"""The list of a shard's images: where their bytes lie, and their labels, names or numbers."""

PADDING = 2**20
"""Bytes of zeros that a tar file may end in: tar fills up to a multiple of 10 KiB, tape drives to more."""

LISTING = 2
"""Raised when the same shard would be listed otherwise: older lists in the cache are of no use then."""

KEYS = ("label", "cls", "class", "wnid")
"""Where the label may stand in KEY.json."""


@dataclass(frozen=True, eq=False)
class Tars:
    """Images inside uncompressed tar files, in the order of the shards and of their members; ids are the keys.

    shards: the files. members: (N, 3) int64: shard, first byte, number of bytes. Every image is read on its own, from
    any place, by any number of threads.
    tarfile is used directly: timm's ReaderWds only streams, and its ReaderImageInTar takes labels from folder names
    alone, and keeps handles open that threads cannot share.
    """

    root: Path
    ids: Sequence[str]
    names: Sequence[str] | None
    targets: np.ndarray
    shards: Sequence[Path]
    members: np.ndarray

    def open(self, index: int) -> IO[bytes]:
        shard, offset, size = self.members[index].tolist()
        with self.shards[shard].open("rb") as file:
            file.seek(offset)
            return io.BytesIO(file.read(size))

    def where(self, index: int) -> str:
        return f"{self.shards[self.members[index, 0]]}: {self.ids[index]}"

    def marks(self) -> Iterable[int]:
        """Sizes of the images."""
        sizes: list[int] = self.members[:, 2].tolist()
        return sizes


def open_tars(root: Path, shards: Sequence[Path]) -> Tars:
    """The images in tar files; the list of each one's members is made once and kept in the user's cache folder.

    Raises HarnessError for files that are no tar files, are compressed or damaged, and for images without a label.
    """
    indices = [_cached_index(shard) for shard in shards]
    keys = [key for index in indices for key in index["key"].to_pylist()]
    if len(set(keys)) < len(keys):
        keys = [f"{s.stem}/{key}" for s, index in zip(shards, indices, strict=True) for key in index["key"].to_pylist()]
    columns = [np.repeat(np.arange(len(shards)), [len(index) for index in indices])]
    columns += [np.concatenate([index[name].to_numpy() for index in indices]) for name in ("offset", "size")]
    labels = [label for index in indices for label in index["label"].to_pylist()]
    return Tars(root, tuple(keys), *_targets(labels), shards, np.stack(columns, 1))


def _targets(labels: Sequence[str]) -> tuple[Sequence[str] | None, np.ndarray]:
    """Numbers where all labels are numbers; names otherwise."""
    try:
        return None, np.array([int(label) for label in labels], dtype=np.int64)
    except (ValueError, OverflowError):
        names, targets = np.unique(labels, return_inverse=True)
        return names.tolist(), targets.astype(np.int64)


def _cached_index(shard: Path) -> pa.Table:
    """The members of a shard; a file of another size or time is another shard."""
    state = shard.stat()
    mark = f"{LISTING} {shard.resolve()} {state.st_size} {state.st_mtime_ns}"
    cache = cache_folder() / "tars" / f"{hashlib.sha256(mark.encode()).hexdigest()[:24]}.parquet"
    with contextlib.suppress(OSError, pa.ArrowException):
        return pq.read_table(cache)
    table = pa.Table.from_pylist(_index(shard), ROWS)
    with contextlib.suppress(HarnessError), writing(cache) as partial:  # where nothing can be kept, it is made again
        pq.write_table(table, partial)
    return table


def _index(shard: Path) -> list[dict[str, Any]]:
    """One row per image, see `ROWS`."""
    images: dict[str, tarfile.TarInfo] = {}
    labels: dict[str, str] = {}
    with _opened(shard) as tar:
        for member in tar:
            key, ending = _split(member.name)
            if member.isdir() or not key.rpartition("/")[2]:  # hidden files, such as macOS leaves in archives
                continue
            if not member.isfile():
                raise HarnessError(f"{shard}: {member.name} is a link, not a file. Pack the files themselves.")
            if ending.endswith(SUFFIXES):
                if key in images:
                    raise HarnessError(f"{shard} holds two images {key}.*: in this layout a key has one. Rename them.")
                images[key] = member
            elif ending == ".cls" or (ending == ".json" and key not in labels):
                content = tar.extractfile(member)
                labels[key] = _label(f"{shard}: {member.name}", ending, content.read() if content else b"")
    found = {key: labels[key] if key in labels else _named(shard, key) for key in images}
    return [{"key": k, "offset": m.offset_data, "size": m.size, "label": found[k]} for k, m in images.items()]


@contextlib.contextmanager
def _opened(shard: Path) -> Iterator[tarfile.TarFile]:
    """A tar file to run through; raises HarnessError, saying what it is instead, or that it is damaged."""
    try:
        with tarfile.open(shard, "r:") as tar:
            yield tar
            end = tar.offset
        if not _ends(shard, end):  # tarfile takes a damaged header for the end, and one that was lost
            raise tarfile.ReadError(f"it breaks off after {end} of {shard.stat().st_size} bytes")
    except (tarfile.TarError, OSError) as error:
        with shard.open("rb") as file:
            packed = file.read(2) in (b"\x1f\x8b", b"BZ", b"\xfd7", b"(\xb5")
        what = "it is compressed, which leaves no random access. Unpack it, for instance with gunzip."
        what = PAGE if is_page(shard) else what if packed else f"{error}. Fetch it again, or pack it anew."
        raise HarnessError(f"{shard} is not a readable tar file: {what}") from error


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


def _label(where: str, ending: str, content: bytes) -> str:
    try:
        if ending == ".cls":
            return content.decode().strip()
        said = json.loads(content)
        return str(next(said[key] for key in KEYS if key in said) if isinstance(said, dict) else said)
    except (ValueError, StopIteration) as error:
        raise HarnessError(f"{where} holds no label; expected JSON with one of {', '.join(KEYS)}.") from error


def _named(shard: Path, key: str) -> str:
    """The label of an image that has none beside it: its folder, or the WordNet id that its name begins with."""
    folder, _, file = key.rpartition("/")
    wnid = re.match(r"n\d{8}(?=_)", file)
    label = wnid.group() if wnid else folder.rpartition("/")[2]
    if not label:
        raise HarnessError(f"{shard} holds no label for {key}: {key}.cls or {key}.json must stand beside it.")
    return label
