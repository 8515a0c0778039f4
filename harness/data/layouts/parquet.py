"""Parquet files as the Hugging Face hub has them: a column of encoded images, a column of labels."""

from __future__ import annotations

import io
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import groupby
from pathlib import Path
from threading import Lock
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from harness.base.files import check_regular
from harness.base.signatures import sniff_file
from harness.data.layouts.rows import LARGEST, Listing, check_rows, chunks, find_columns, list_rows, read_group
from harness.types import BadImage, HarnessError

KEPT = 2**28
"""Bytes of row groups kept in memory; the last one is kept whatever its size."""


@dataclass(frozen=True)
class Group:
    """A row group: what is read in one piece.

    start: position of its first image among all; row: the same within its file. size: its bytes as stored and unpacked.
    """

    file: Path
    number: int
    start: int
    row: int
    size: tuple[int, int]


class _Kept:
    """The row groups last read; shared by threads, forgotten when copied into another process."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._tables: OrderedDict[tuple[Path, int], pa.ChunkedArray] = OrderedDict()

    def __reduce__(self) -> tuple[type[_Kept], tuple[()]]:
        return _Kept, ()

    def get(self, group: Group, column: str) -> pa.ChunkedArray:
        """One column of a row group; raises ValueError where it unpacks to more than it says."""
        key = (group.file, group.number)
        with self._lock:
            if key not in self._tables:
                check_regular(group.file)
                with group.file.open("rb") as raw:
                    self._tables[key] = pa.chunked_array(read_group(raw, group.number, column))
                while len(self._tables) > 1 and sum(kept.nbytes for kept in self._tables.values()) > KEPT:
                    self._tables.popitem(last=False)
            self._tables.move_to_end(key)
            return self._tables[key]


@dataclass(frozen=True, eq=False)
class Parquet:
    """Images in Parquet files, in the order of the files and their rows; ids are the stored paths, or row numbers.

    rows: (N,) int64, where each image stands among all rows of all files; a row may have no image, or no label.
    unread: see `harness.data.pictures.EncodedImages`.

    Whole row groups are read: in order that costs nothing extra, in random order a row group per image once the data
    are larger than `KEPT`. For training on ImageNet, unpack them into folders or tars.
    pyarrow is used directly: timm's ReaderHfds needs the package `datasets`, which first converts all data into a cache
    of its own.
    """

    root: Path
    ids: Sequence[str]
    names: Sequence[str] | None
    targets: np.ndarray
    column: str
    groups: Sequence[Group]
    rows: np.ndarray
    unread: Sequence[str] = ()
    _kept: _Kept = field(default_factory=_Kept, repr=False)

    def open(self, index: int) -> IO[bytes]:
        group, row = self._group(index)
        try:
            images = self._kept.get(group, f"{self.column}.bytes")
        except (pa.ArrowException, OSError, ValueError, HarnessError) as error:
            raise BadImage(
                f"{self.where(index)}: its row group cannot be read ({_line(error)}). Fetch it again."
            ) from error
        held = images[row - group.row].as_py() if row - group.row < len(images) else None
        if not held or held["bytes"] is None:
            raise BadImage(f"{self.where(index)} holds no image, against what its file says. Fetch it again.")
        return io.BytesIO(held["bytes"])

    def where(self, index: int) -> str:
        group, row = self._group(index)
        return f"{group.file}, row {row} ({self.ids[index]})"

    def holders(self) -> Iterable[tuple[Path, int]]:
        """The files."""
        files = [group.file for group in self.groups]
        counts = np.bincount(np.searchsorted(self._starts, self.rows, side="right") - 1, minlength=len(files))
        for file, groups in groupby(zip(files, counts.tolist(), strict=True), key=lambda pair: pair[0]):
            yield file, sum(count for _, count in groups)

    def marks(self) -> Iterable[tuple[int, int]]:
        """Sizes of the row groups: those of single images are not to be had without reading them."""
        return (group.size for group in self.groups)

    @cached_property
    def _starts(self) -> np.ndarray:
        return np.array([group.start for group in self.groups])

    def _group(self, index: int) -> tuple[Group, int]:
        """An image's row group, and its row in the file."""
        place = int(self.rows[index])
        group = self.groups[int(np.searchsorted(self._starts, place, side="right")) - 1]
        return group, place - group.start + group.row


def open_parquet(root: Path, files: Sequence[Path]) -> Parquet:
    """The images in Parquet files of one kind; raises HarnessError for files that are not, or are damaged."""
    listings: list[Listing] = []
    groups: list[Group] = []
    total = 0
    for file in files:
        try:
            check_regular(file)
            with file.open("rb") as raw, pq.ParquetFile(raw) as opened:
                check_rows(opened.metadata)
                columns = find_columns(file, opened.schema_arrow)
                groups += _groups(file, opened.metadata, columns.image, total)
            listings.append(list_rows(file, columns, total))
            total += opened.metadata.num_rows
        except HarnessError:
            raise
        except (pa.ArrowException, OSError, ValueError) as error:
            known = sniff_file(file)
            what = f"it is {known}" if known and known != "a Parquet file" else _line(error)
            raise HarnessError(f"{file} is not a readable Parquet file: {what}. Fetch it again.") from error
    odd = next((k for k, found in enumerate(listings) if found.columns != listings[0].columns), None)
    if odd is not None:
        raise HarnessError(f"{files[odd]} has other columns or classes than {files[0]}. They are not one data set.")
    rows = np.concatenate([found.rows for found in listings])
    unread = tuple(name for found in listings for name in found.unread)
    image, names = listings[0].columns.image, listings[0].columns.names
    return Parquet(root, _ids(files, listings), *_targets(files, listings, names), image, groups, rows, unread)


def _line(error: Exception) -> str:
    """What pyarrow says, which may be several lines, as part of a sentence."""
    return " ".join(str(error).split()).rstrip(". ")


def _groups(file: Path, metadata: Any, image: str, start: int) -> list[Group]:
    found, row = [], 0
    for number in range(metadata.num_row_groups):
        described = metadata.row_group(number)
        (chunk,) = chunks(described, f"{image}.bytes")
        size = (chunk.total_compressed_size, chunk.total_uncompressed_size)
        if max(size) > LARGEST:
            raise HarnessError(
                f"{file} has {max(size) / 2**30:.1f} GiB of images in one row group, which would have to be read for "
                "each of them. Write it anew: pyarrow.parquet.write_table(table, file, row_group_size=1000)."
            )
        found.append(Group(file, number, start + row, row, size))
        row += described.num_rows
    return found


def _ids(files: Sequence[Path], listings: Sequence[Listing]) -> tuple[str, ...]:
    """The stored paths where each image has one of its own; otherwise file and row."""
    paths = [path for found in listings for path in found.paths]
    if None not in paths and len(set(paths)) == len(paths):
        return tuple(path for path in paths if path is not None)
    return tuple(
        f"{file.stem}/{row:07d}" for file, found in zip(files, listings, strict=True) for row in found.numbers.tolist()
    )


def _targets(
    files: Sequence[Path], listings: Sequence[Listing], names: Sequence[str] | None
) -> tuple[Sequence[str] | None, np.ndarray]:
    """What the files call their classes, and which is whose; texts are names themselves."""
    if all(pa.types.is_integer(found.labels.type) for found in listings):
        return names, np.concatenate([found.labels.to_numpy() for found in listings]).astype(np.int64)
    if all(pa.types.is_dictionary(found.labels.type) for found in listings):
        texts = [text for found in listings for text in found.labels.to_pylist()]
        places = {text: place for place, text in enumerate(sorted(set(texts)))}
        return list(places), np.array([places[text] for text in texts], dtype=np.int64)
    raise HarnessError(
        f"{files[0]}: the column {listings[0].columns.label!r} must hold an integer or a name in every row."
    )
