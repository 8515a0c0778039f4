"""Parquet files as the Hugging Face hub has them: a column of encoded images, a column of labels."""

from __future__ import annotations

import io
import json
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from harness.files import PAGE, is_page
from harness.types import BadImage, HarnessError

IMAGES, LABELS = ("image", "img"), ("label", "labels")
"""What the two columns may be called."""

KEPT = 2**28
"""Bytes of row groups kept in memory; the last one is kept whatever its size."""

LARGEST = 2**30
"""Bytes that the images of one row group may have."""


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
        self._tables: OrderedDict[tuple[Path, int], pa.Table] = OrderedDict()

    def __reduce__(self) -> tuple[type[_Kept], tuple[()]]:
        return _Kept, ()

    def get(self, group: Group, column: str) -> pa.Table:
        key = (group.file, group.number)
        with self._lock:
            if key not in self._tables:
                with pq.ParquetFile(group.file) as file:
                    self._tables[key] = file.read_row_group(group.number, [column], use_threads=False)
                while len(self._tables) > 1 and sum(kept.nbytes for kept in self._tables.values()) > KEPT:
                    self._tables.popitem(last=False)
            self._tables.move_to_end(key)
            return self._tables[key]


@dataclass(frozen=True, eq=False)
class Parquet:
    """Images in Parquet files, in the order of the files and their rows; ids are the stored paths, or row numbers.

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
    _kept: _Kept = field(default_factory=_Kept, repr=False)

    def open(self, index: int) -> IO[bytes]:
        group = self._group(index)
        try:
            images = self._kept.get(group, f"{self.column}.bytes")
        except (pa.ArrowException, OSError) as error:
            raise BadImage(
                f"{self.where(index)}: its row group cannot be read ({_line(error)}). Fetch it again."
            ) from error
        encoded = images.column(0)[index - group.start]["bytes"].as_py()
        if encoded is None:
            raise BadImage(f"{self.where(index)} holds a path in place of an image. Embed the images in the file.")
        return io.BytesIO(encoded)

    def where(self, index: int) -> str:
        group = self._group(index)
        return f"{group.file}, row {group.row + index - group.start} ({self.ids[index]})"

    def marks(self) -> Iterable[tuple[int, int]]:
        """Sizes of the row groups: those of single images are not to be had without reading them."""
        return (group.size for group in self.groups)

    @cached_property
    def _starts(self) -> np.ndarray:
        return np.array([group.start for group in self.groups])

    def _group(self, index: int) -> Group:
        return self.groups[int(np.searchsorted(self._starts, index, side="right")) - 1]


def open_parquet(root: Path, files: Sequence[Path]) -> Parquet:
    """The images in Parquet files of one kind; raises HarnessError for files that are not, or are damaged."""
    tables, groups, columns = [], [], []
    total = 0
    for file in files:
        try:
            with pq.ParquetFile(file) as opened:
                columns.append(_columns(file, opened.schema_arrow))
                groups += _groups(file, opened.metadata, columns[-1][0], total)
                total += opened.metadata.num_rows
                image, label, _ = columns[-1]
                tables.append(opened.read([f"{image}.path", label], use_threads=False))
        except (pa.ArrowException, OSError) as error:
            what = PAGE if is_page(file) else f"{_line(error)}. Fetch it again."
            raise HarnessError(f"{file} is not a readable Parquet file: {what}") from error
    if len(set(columns)) > 1:
        odd = next(k for k, found in enumerate(columns) if found != columns[0])
        raise HarnessError(f"{files[odd]} has other columns or classes than {files[0]}. They are not one data set.")
    image, label, names = columns[0]
    return Parquet(root, _ids(files, tables, image), *_targets(files, tables, label, names), image, groups)


def _line(error: Exception) -> str:
    """What pyarrow says, which may be several lines, as part of a sentence."""
    return " ".join(str(error).split()).rstrip(". ")


def _columns(file: Path, schema: pa.Schema) -> tuple[str, str, tuple[str, ...] | None]:
    """The image column, the label column, and the names of the classes if the file has them."""
    structs = {f.name for f in schema if pa.types.is_struct(f.type) and f.type.get_field_index("bytes") >= 0}
    image = next((name for name in IMAGES if name in structs), None)
    label = next((name for name in LABELS if name in schema.names), None)
    if image is None or label is None:
        raise HarnessError(
            f"{file} has the columns {', '.join(schema.names)}; expected images (struct of bytes and path) under "
            f"{' or '.join(IMAGES)}, and {' or '.join(LABELS)}."
        )
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        return image, label, tuple(features[label]["names"])
    except (KeyError, TypeError, ValueError):
        return image, label, None


def _groups(file: Path, metadata: Any, image: str, start: int) -> list[Group]:
    found, row = [], 0
    for number in range(metadata.num_row_groups):
        described = metadata.row_group(number)
        chunks = [described.column(k) for k in range(described.num_columns)]
        (chunk,) = [c for c in chunks if c.path_in_schema == f"{image}.bytes"]
        size = (chunk.total_compressed_size, chunk.total_uncompressed_size)
        if max(size) > LARGEST:
            raise HarnessError(
                f"{file} has {max(size) / 2**30:.1f} GiB of images in one row group, which would have to be read for "
                "each of them. Write it anew: pyarrow.parquet.write_table(table, file, row_group_size=1000)."
            )
        found.append(Group(file, number, start + row, row, size))
        row += described.num_rows
    return found


def _ids(files: Sequence[Path], tables: Sequence[pa.Table], image: str) -> tuple[str, ...]:
    """The stored paths where each image has one of its own; otherwise file and row."""
    columns = [table[image].combine_chunks() for table in tables if image in table.column_names]
    paths = [path for column in columns for path in column.field("path").to_pylist()]
    if None not in paths and len(set(paths)) == sum(map(len, tables)):
        return tuple(paths)
    return tuple(f"{file.stem}/{row:07d}" for file, rows in zip(files, tables, strict=True) for row in range(len(rows)))


def _targets(
    files: Sequence[Path], tables: Sequence[pa.Table], label: str, names: Sequence[str] | None
) -> tuple[Sequence[str] | None, np.ndarray]:
    """What the files call their classes, and which is whose; texts are names themselves."""
    values = np.concatenate([table[label].to_numpy() for table in tables])
    if values.dtype.kind in "iu":
        return names, values.astype(np.int64)
    if values.dtype.kind == "O" and all(isinstance(value, str) for value in values):
        found, targets = np.unique(values.astype(str), return_inverse=True)
        return found.tolist(), targets.astype(np.int64)
    raise HarnessError(f"{files[0]}: the column {label!r} must hold an integer or a name in every row.")
