"""Parquet files in the layout of the Hugging Face hub: a column of encoded images, a column of labels."""

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
from harness.data.layouts.rows import LARGEST, RowListing, check_rows, chunks, find_columns, list_rows, read_group
from harness.types import BadImage, HarnessError

CACHED = 2**28
"""Bytes of row groups that stay in memory, apart from the last one, which always stays."""


@dataclass(frozen=True)
class Group:
    """A row group, which is read in one piece.

    file: its file. number: its index in the file.
    start: position of its first row among the rows of all files; row: the same within its file.
    size: bytes of its images, as stored and unpacked.
    """

    file: Path
    number: int
    start: int
    row: int
    size: tuple[int, int]


class _RowGroupCache:
    """The row groups last read; threads share them, a copy in another process starts empty."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._tables: OrderedDict[tuple[Path, int], pa.ChunkedArray] = OrderedDict()

    def __reduce__(self) -> tuple[type[_RowGroupCache], tuple[()]]:
        return _RowGroupCache, ()

    def get(self, group: Group, column: str) -> pa.ChunkedArray:
        """One column of a row group; raises ValueError if it unpacks to more than its metadata say."""
        key = (group.file, group.number)
        with self._lock:
            if key not in self._tables:
                check_regular(group.file)
                with group.file.open("rb") as raw:
                    self._tables[key] = pa.chunked_array(read_group(raw, group.number, column))
                while len(self._tables) > 1 and sum(table.nbytes for table in self._tables.values()) > CACHED:
                    self._tables.popitem(last=False)
            self._tables.move_to_end(key)
            return self._tables[key]


@dataclass(frozen=True, eq=False)
class Parquet:
    """Images in Parquet files, in the order of the files and their rows; ids are the stored paths, or row numbers.

    root, names, targets, unread: see `harness.data.pictures.EncodedImages`. column: name of the images' column.
    rows: (N,) int64, position of each image among the rows of all files; a row may lack an image or a label.

    Row groups are read in one piece: in order this costs nothing extra, in random order a row group per image once the
    data are larger than `CACHED`. For training on ImageNet, unpack them into folders or tars. pyarrow is used directly:
    timm's ReaderHfds needs the package `datasets`, which first copies all data into another cache.
    """

    root: Path
    ids: Sequence[str]
    names: Sequence[str] | None
    targets: np.ndarray
    column: str
    groups: Sequence[Group]
    rows: np.ndarray
    unread: Sequence[str] = ()
    _cache: _RowGroupCache = field(default_factory=_RowGroupCache, repr=False)

    def open(self, index: int) -> IO[bytes]:
        group, row = self._group(index)
        try:
            images = self._cache.get(group, f"{self.column}.bytes")
        except (pa.ArrowException, OSError, ValueError, HarnessError) as error:
            raise BadImage(
                f"{self.where(index)}: its row group cannot be read ({_line(error)}). Fetch it again."
            ) from error
        image = images[row - group.row].as_py() if row - group.row < len(images) else None
        if not image or image["bytes"] is None:
            raise BadImage(f"{self.where(index)} holds no image, although its file says so. Fetch it again.")
        return io.BytesIO(image["bytes"])

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
        """Sizes of the row groups: sizes of single images are unknown before these are read."""
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
    """The images in Parquet files of one kind; raises HarnessError for other files and for damaged ones."""
    listings: list[RowListing] = []
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
            kind = sniff_file(file)
            fault = f"it is {kind}" if kind and kind != "a Parquet file" else _line(error)
            raise HarnessError(f"{file} is not a readable Parquet file: {fault}. Fetch it again.") from error
    odd = next((k for k, listing in enumerate(listings) if listing.columns != listings[0].columns), None)
    if odd is not None:
        raise HarnessError(f"{files[odd]} has other columns or classes than {files[0]}. They are not one data set.")
    rows = np.concatenate([listing.rows for listing in listings])
    unread = tuple(name for listing in listings for name in listing.unread)
    image, names = listings[0].columns.image, listings[0].columns.names
    return Parquet(root, _ids(files, listings), *_targets(files, listings, names), image, groups, rows, unread)


def _line(error: Exception) -> str:
    """A message of pyarrow, which may have several lines, as part of a sentence."""
    return " ".join(str(error).split()).rstrip(". ")


def _groups(file: Path, metadata: Any, image: str, start: int) -> list[Group]:
    groups: list[Group] = []
    row = 0
    for number in range(metadata.num_row_groups):
        described = metadata.row_group(number)
        (chunk,) = chunks(described, f"{image}.bytes")
        size = (chunk.total_compressed_size, chunk.total_uncompressed_size)
        if max(size) > LARGEST:
            raise HarnessError(
                f"{file} has {max(size) / 2**30:.1f} GiB of images in one row group, which would have to be read for "
                "each of them. Write it anew: pyarrow.parquet.write_table(table, file, row_group_size=1000)."
            )
        groups.append(Group(file, number, start + row, row, size))
        row += described.num_rows
    return groups


def _ids(files: Sequence[Path], listings: Sequence[RowListing]) -> tuple[str, ...]:
    """The stored paths if they are all different; otherwise file and row."""
    paths = [path for listing in listings for path in listing.paths]
    if None not in paths and len(set(paths)) == len(paths):
        return tuple(path for path in paths if path is not None)
    return tuple(
        f"{file.stem}/{row:07d}"
        for file, listing in zip(files, listings, strict=True)
        for row in listing.numbers.tolist()
    )


def _targets(
    files: Sequence[Path], listings: Sequence[RowListing], names: Sequence[str] | None
) -> tuple[Sequence[str] | None, np.ndarray]:
    """Names of the classes, and the images' positions (N,) in these, or numbers without names; texts are names."""
    if all(pa.types.is_integer(listing.labels.type) for listing in listings):
        return names, np.concatenate([listing.labels.to_numpy() for listing in listings]).astype(np.int64)
    if all(pa.types.is_dictionary(listing.labels.type) for listing in listings):
        texts = [text for listing in listings for text in listing.labels.to_pylist()]
        places = {text: place for place, text in enumerate(sorted(set(texts)))}
        return list(places), np.array([places[text] for text in texts], dtype=np.int64)
    raise HarnessError(
        f"{files[0]}: the column {listings[0].columns.label!r} must hold an integer or a name in every row."
    )
