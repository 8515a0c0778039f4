"""Rows of one untrusted Parquet file: paths, labels, and which of them have an image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from harness.base.parquet_pages import check_pages
from harness.base.parsing import parse_json
from harness.types import HarnessError

IMAGES, LABELS = ("image", "img"), ("label", "labels")
"""Accepted names of the two columns."""

TEXTS = 2**28
"""Bytes of the paths, or of the labels, of one file at most."""

LARGEST = 2**30
"""Bytes of the images in one row group at most."""

ROWS = 2**24
"""Rows of a file at most; all of ImageNet's training images are 1.3 million."""


@dataclass(frozen=True)
class ColumnNames:
    """Names in a file. image, label: of the two columns. names: of the classes; None if the file has none."""

    image: str
    label: str
    names: tuple[str, ...] | None


def find_columns(file: Path, schema: pa.Schema) -> ColumnNames:
    """The columns of images and labels; raises HarnessError for a file that lacks one."""
    structs = {f.name for f in schema if pa.types.is_struct(f.type) and _has_bytes(f.type)}
    image = next((name for name in IMAGES if name in structs), None)
    label = next((name for name in LABELS if name in schema.names), None)
    if image is None or label is None:
        raise HarnessError(
            f"{file} has the columns {', '.join(schema.names)}; expected images (struct of bytes and path) under "
            f"{' or '.join(IMAGES)}, and {' or '.join(LABELS)}."
        )
    if not _is_label(schema.field(label).type):
        raise HarnessError(f"{file}: the column {label!r} must hold an integer or a name in every row.")
    try:
        names = parse_json((schema.metadata or {})[b"huggingface"])["info"]["features"][label]["names"]
    except (KeyError, TypeError, ValueError):
        names = None
    texts = isinstance(names, list) and all(isinstance(name, str) for name in names)
    return ColumnNames(image, label, tuple(names) if texts else None)


def check_rows(metadata: Any) -> None:
    """Raise ValueError for metadata whose numbers of rows are too many, or do not add up."""
    counts = [metadata.row_group(k).num_rows for k in range(metadata.num_row_groups)]
    if metadata.num_rows > ROWS or min(counts, default=0) < 0 or sum(counts) != metadata.num_rows:
        raise ValueError(f"it claims to have {metadata.num_rows:,} rows, {ROWS:,} at most are read")


def _is_label(kind: Any) -> bool:
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return bool(pa.types.is_integer(kind) or pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _has_bytes(struct: Any) -> bool:
    place = struct.get_field_index("bytes")
    return place >= 0 and (
        pa.types.is_binary(struct.field(place).type) or pa.types.is_large_binary(struct.field(place).type)
    )


@dataclass(frozen=True)
class RowListing:
    """The images of one file.

    rows: (n,) int64, of those with a label, among all rows of all files. numbers: (n,) int64, rows within the file.
    paths: (n,) the images' stored paths, None where there are none. labels: (n,) integers or texts.
    unread: rows without image or label.
    """

    columns: ColumnNames
    rows: np.ndarray
    numbers: np.ndarray
    paths: list[str | None]
    labels: pa.Array
    unread: Sequence[str]


def list_rows(file: Path, columns: ColumnNames, start: int) -> RowListing:
    """Paths and labels of the rows with an image. start: rows of the files before this one.

    Raises ValueError for a column that is too large.
    """
    with file.open("rb") as raw:
        labels = _leaf(raw, columns.label, TEXTS)
        paths = _leaf(raw, f"{columns.image}.path", TEXTS)
        empty = _without_bytes(raw, f"{columns.image}.bytes")
    bare = ~labels.is_valid().to_numpy(zero_copy_only=False)
    lost, imageless = np.flatnonzero(bare), np.setdiff1d(empty, np.flatnonzero(bare))
    unread = [f"{file.name}: {len(lost)} rows without a label, such as row {lost[0]}"] if len(lost) else []
    if len(imageless):
        unread.append(f"{file.name}: {len(imageless)} rows without an image in them, such as row {imageless[0]}")
    numbers = np.setdiff1d(np.arange(len(labels)), np.concatenate([lost, empty]))
    chosen = pa.array(numbers)
    there = len(paths) == len(labels)
    places: list[str | None] = paths.take(chosen).to_pylist() if there else [None] * len(numbers)
    return RowListing(columns, numbers + start, numbers, places, labels.take(chosen), unread)


def _leaf(raw: IO[bytes], column: str, most: int) -> pa.Array:
    """One column of a file; empty if it is missing. Raises ValueError if it unpacks to more than `most` bytes."""
    count = pq.ParquetFile(raw).metadata.num_row_groups
    pieces = [_values(piece) for number in range(count) for piece in read_group(raw, number, column, most)]
    if not pieces:
        return pa.array([], pa.int64())
    if sum(piece.nbytes for piece in pieces) > most:
        raise ValueError(f"its column {column} has more than {most:,} bytes")
    values = pa.chunked_array(pieces).unify_dictionaries().combine_chunks()
    if pa.types.is_dictionary(values.type):
        lengths = pc.fill_null(pc.binary_length(values.dictionary), 0).to_numpy()
        used = values.indices.drop_null().to_numpy()
        if len(used) and int(lengths[used].sum(dtype=np.int64)) > most:
            raise ValueError(f"its column {column} unpacks to more than {most:,} bytes")
    return values


def _without_bytes(raw: IO[bytes], column: str) -> np.ndarray:
    """Numbers of the rows without an image. Row groups whose statistics exclude such rows are not read."""
    metadata = pq.ParquetFile(raw).metadata
    empty = [np.zeros(0, np.int64)]
    start = 0
    for number in range(metadata.num_row_groups):
        group = metadata.row_group(number)
        (chunk,) = chunks(group, column)
        counted = chunk.is_stats_set and chunk.statistics.has_null_count
        place = start
        for piece in read_group(raw, number, column) if not counted or chunk.statistics.null_count else ():
            there = piece.is_valid().to_numpy(zero_copy_only=False) & _values(piece).is_valid().to_numpy(False)
            empty.append(np.flatnonzero(~there) + place)
            place += len(piece)
        start += group.num_rows
    return np.concatenate(empty)


def _values(piece: pa.Array) -> pa.Array:
    """The values of a column, or of the only field of a column of structs."""
    return pc.struct_field(piece, [0]) if pa.types.is_struct(piece.type) else piece


def read_group(raw: IO[bytes], number: int, column: str, most: int = LARGEST) -> list[pa.Array]:
    """One column of a row group, texts and bytes as indices into a dictionary: a million rows may share a value.

    Empty if there is no such column. Raises ValueError for more than `most` bytes, or more than its metadata say.
    """
    opened = pq.ParquetFile(raw, read_dictionary=[column])
    described = chunks(opened.metadata.row_group(number), column)
    for chunk in described:
        if max(chunk.total_compressed_size, chunk.total_uncompressed_size) > most:
            raise ValueError(f"its column {column} has more than {most:,} bytes in one row group")
        check_pages(raw, chunk)
    pieces: list[pa.Array] = (
        opened.read_row_group(number, [column], use_threads=False).column(0).chunks if described else []
    )
    return pieces


def chunks(described: Any, column: str) -> list[Any]:
    """The metadata of a column's chunks in a row group: one, in any ordinary file."""
    columns = [described.column(k) for k in range(described.num_columns)]
    return [chunk for chunk in columns if chunk.path_in_schema == column]
