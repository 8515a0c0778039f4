"""Shards in the layout of webdataset: tar files with KEY.jpg beside KEY.cls or KEY.json."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from harness.base import cache
from harness.base.files import check_regular
from harness.base.parsing import parse_json
from harness.data.layouts.tar_members import list_shard
from harness.types import BadImage, HarnessError

ROWS = pa.schema([("key", pa.string()), ("offset", pa.int64()), ("size", pa.int64()), ("label", pa.string())])
"""Columns of the list of a shard's images: key, place of the bytes, and label, a name or a number."""

LISTING = 3
"""Raised when the same shard would be listed differently: the cache then has no list for it."""

UNREAD = b"unread"
"""Metadata of a list in the cache with the members that are not read."""

ENCODED = 2**29
"""Bytes of an encoded image at most."""


@dataclass(frozen=True, eq=False)
class Tars:
    """Images inside uncompressed tar files, in the order of the shards and of their members; ids are the keys.

    root, names, targets, unread: see `harness.data.pictures.EncodedImages`. shards: the files.
    members: (N, 3) int64: shard, first byte, number of bytes.

    Each image is read separately, in any order and by any number of threads. tarfile is used directly: timm's ReaderWds
    only streams, and its ReaderImageInTar takes labels from folder names alone and keeps handles open that threads
    cannot share.
    """

    root: Path
    ids: Sequence[str]
    names: Sequence[str] | None
    targets: np.ndarray
    shards: Sequence[Path]
    members: np.ndarray
    unread: Sequence[str] = ()

    def open(self, index: int) -> IO[bytes]:
        shard, offset, size = self.members[index].tolist()
        if size > ENCODED:
            raise BadImage(f"{self.where(index)} has {size:,} bytes, more than the limit of {ENCODED:,}. Replace it.")
        with self.shards[shard].open("rb") as file:
            file.seek(offset)
            return io.BytesIO(file.read(size))

    def where(self, index: int) -> str:
        return f"{self.shards[self.members[index, 0]]}: {self.ids[index]}"

    def holders(self) -> Iterable[tuple[Path, int]]:
        """The shards."""
        return zip(self.shards, np.bincount(self.members[:, 0], minlength=len(self.shards)).tolist(), strict=True)

    def marks(self) -> Iterable[int]:
        """Sizes of the images."""
        sizes: list[int] = self.members[:, 2].tolist()
        return sizes


def open_tars(root: Path, shards: Sequence[Path]) -> Tars:
    """The images in tar files; each file's members are listed once, and the list stays in the user's cache folder.

    Raises HarnessError for files that are no tar files, are compressed or damaged.
    """
    listings = [_cached_index(shard) for shard in shards]
    indices = [table for table, _ in listings]
    keys = [key for index in indices for key in index["key"].to_pylist()]
    if len(set(keys)) < len(keys):
        keys = [f"{s.stem}/{key}" for s, index in zip(shards, indices, strict=True) for key in index["key"].to_pylist()]
    columns = [np.repeat(np.arange(len(shards)), [len(index) for index in indices])]
    columns += [np.concatenate([index[name].to_numpy() for index in indices]) for name in ("offset", "size")]
    labels = [label for index in indices for label in index["label"].to_pylist()]
    unread = tuple(name for _, names in listings for name in names)
    return Tars(root, tuple(keys), *_targets(labels), shards, np.stack(columns, 1), unread)


def _targets(labels: Sequence[str]) -> tuple[Sequence[str] | None, np.ndarray]:
    """Names of the classes, and positions (N,) in these; if all labels are numbers, no names and the numbers."""
    try:
        return None, np.array([int(label) for label in labels], dtype=np.int64)
    except (ValueError, OverflowError):
        names, targets = np.unique(labels, return_inverse=True)
        return names.tolist(), targets.astype(np.int64)


def _cached_index(shard: Path) -> tuple[pa.Table, tuple[str, ...]]:
    """The images of a shard, and the members not read; a file of another size or time is another shard."""
    try:
        check_regular(shard)
        state = shard.stat()
    except OSError as error:
        raise HarnessError(f"{shard} cannot be read ({error.strerror}). Fetch it again.") from error
    mark = f"{LISTING} {shard.resolve()} {state.st_size} {state.st_mtime_ns}"
    if content := cache.load("tars", mark):
        table = pq.read_table(io.BytesIO(content))
        return table, tuple(parse_json(table.schema.metadata[UNREAD]))
    rows, unread = list_shard(shard)
    table = pa.Table.from_pylist(rows, ROWS).replace_schema_metadata({UNREAD: json.dumps(unread)})
    buffer = io.BytesIO()
    pq.write_table(table, buffer)
    cache.store("tars", mark, buffer.getvalue())
    return table, tuple(unread)
