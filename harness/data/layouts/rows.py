"""What the rows of one Parquet file say, which strangers may have written: paths, labels, and which hold an image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from harness.data.layouts.pages import check_pages
from harness.files import check_regular, parse_json
from harness.types import HarnessError

IMAGES, LABELS = ("image", "img"), ("label", "labels")
"""What the two columns may be called."""

TEXTS = 2**28
"""Bytes that the paths or the labels of one file may have."""


@dataclass(frozen=True)
class Columns:
    """Names of the column of images and of that of labels; and of the classes, if the file has these."""

    image: str
    label: str
    names: tuple[str, ...] | None


def find_columns(file: Path, schema: pa.Schema) -> Columns:
    structs = {f.name for f in schema if pa.types.is_struct(f.type) and _has_bytes(f.type)}
    image = next((name for name in IMAGES if name in structs), None)
    label = next((name for name in LABELS if name in schema.names), None)
    if image is None or label is None:
        raise HarnessError(
            f"{file} has the columns {', '.join(schema.names)}; expected images (struct of bytes and path) under "
            f"{' or '.join(IMAGES)}, and {' or '.join(LABELS)}."
        )
    try:
        names = parse_json((schema.metadata or {})[b"huggingface"])["info"]["features"][label]["names"]
    except (KeyError, TypeError, ValueError):
        names = None
    texts = isinstance(names, list) and all(isinstance(name, str) for name in names)
    return Columns(image, label, tuple(names) if texts else None)


def _has_bytes(struct: Any) -> bool:
    place = struct.get_field_index("bytes")
    return place >= 0 and (
        pa.types.is_binary(struct.field(place).type) or pa.types.is_large_binary(struct.field(place).type)
    )


@dataclass(frozen=True)
class Listing:
    """What one file says of its images.

    rows: (n,) int64, of those with a label, among all rows of all files. numbers: (n,) int64, rows within the file.
    paths: (n,) the images' stored paths, None where there are none. labels: (n,) integers or texts.
    unread: rows without image or label.
    """

    columns: Columns
    rows: np.ndarray
    numbers: np.ndarray
    paths: list[str | None]
    labels: pa.Array
    unread: Sequence[str]


def list_rows(file: Path, columns: Columns, start: int) -> Listing:
    """Paths and labels of the rows, and which of these have an image; raises ValueError for too much."""
    paths, labels = (_texts(file, name) for name in (f"{columns.image}.path", columns.label))
    if labels is None:
        raise ValueError(f"its column {columns.label} cannot be read")
    numbers = np.flatnonzero(labels.is_valid().to_numpy(zero_copy_only=False))
    lost = len(labels) - len(numbers)
    unread = [f"{file.name}: {lost} rows without a label"] if lost else []
    empty = _without_bytes(file, f"{columns.image}.bytes")
    if len(bare := np.intersect1d(numbers, empty)):
        unread.append(f"{file.name}: {len(bare)} rows without an image, such as row {bare[0]} (a path alone is none)")
        numbers = np.setdiff1d(numbers, empty)
    places = paths.take(pa.array(numbers)).to_pylist() if paths is not None else [None] * len(numbers)
    return Listing(columns, numbers + start, numbers, places, labels.take(pa.array(numbers)), unread)


def _texts(file: Path, column: str) -> pa.Array | None:
    """One column, texts as a dictionary's indices; None where there is none. Raises ValueError for too much."""
    with file.open("rb") as raw, pq.ParquetFile(raw, read_dictionary=[column]) as opened:
        for number in range(opened.metadata.num_row_groups):
            for chunk in chunks(opened.metadata.row_group(number), column):
                if chunk.total_uncompressed_size > TEXTS:
                    raise ValueError(f"its column {column} has {chunk.total_uncompressed_size:,} bytes in a row group")
                check_pages(raw, chunk)
        table = opened.read([column], use_threads=False)
    if not table.num_columns:
        return None
    values = table.column(0)
    if pa.types.is_struct(values.type):
        values = values.combinechunks() if values.num_chunks != 1 else values.chunk(0)
        values = pa.chunked_array([values.field(0)])
    values = values.unify_dictionaries().combinechunks() if values.num_chunks != 1 else values.chunk(0)
    if pa.types.is_dictionary(values.type):
        lengths = pc.fill_null(pc.binary_length(values.dictionary), 0).to_numpy()
        used = values.indices.drop_null().to_numpy()
        if len(used) and int(lengths[used].sum(dtype=np.int64)) > TEXTS:
            raise ValueError(f"its column {column} unpacks to more than {TEXTS:,} bytes")
    return values


def _without_bytes(file: Path, column: str) -> np.ndarray:
    """Numbers of the rows without an image; only row groups are read whose statistics do not exclude these."""
    found = []
    with pq.ParquetFile(file) as opened:
        described = [opened.metadata.row_group(k) for k in range(opened.metadata.num_row_groups)]
    start = 0
    for number, group in enumerate(described):
        (chunk,) = chunks(group, column)
        statistics = chunk.statistics if chunk.is_stats_set else None
        if statistics is None or not statistics.has_null_count or statistics.null_count:
            images = read_group(file, number, column).column(0).combinechunks()
            missing = np.zeros(len(images), bool)
            values = images.field(0) if pa.types.is_struct(images.type) else images
            missing |= images.is_null().to_numpy(zero_copy_only=False) | values.is_null().to_numpy(zero_copy_only=False)
            found.append(np.flatnonzero(missing) + start)
        start += group.num_rows
    return np.concatenate(found) if found else np.zeros(0, np.int64)


def read_group(file: Path, number: int, column: str) -> pa.Table:
    """One column of a row group, texts and bytes as indices into a dictionary: a value may be a million rows'."""
    check_regular(file)
    with file.open("rb") as raw, pq.ParquetFile(raw, read_dictionary=[column]) as opened:
        for chunk in chunks(opened.metadata.row_group(number), column):
            check_pages(raw, chunk)
        return opened.read_row_group(number, [column], use_threads=False)


def chunks(described: Any, column: str) -> list[Any]:
    """The metadata of a column's chunks in a row group: one, unless the file is a strange one."""
    chunks = [described.column(k) for k in range(described.num_columns)]
    return [chunk for chunk in chunks if chunk.path_in_schema == column]
