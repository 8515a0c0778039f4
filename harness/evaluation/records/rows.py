"""Sample tables as numpy columns: one row per sample and condition, first id, condition and label.

Interim states are such tables with one more column, `FINAL`.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from harness.base.files import check_regular
from harness.base.parquet_pages import check_pages
from harness.types import Batch, Columns, Condition, HarnessError

Rows = dict[str, Any]

FINAL = "final"
"""Column of interim states: images that are done; the others go on from there."""


MOST = 2**30
"""Bytes that a table may take in memory: ImageNet-C as a whole, 3.75 million rows, takes a third."""

WIDTHS = {"BOOLEAN": 1, "INT32": 4, "FLOAT": 4, "INT64": 8, "DOUBLE": 8, "INT96": 12, "BYTE_ARRAY": 8}
"""Bytes of a value in memory by Parquet's physical type; of texts and bytes without their content."""

OBJECT = 64
"""Bytes that Python takes for a text beside its content."""


def read_table(source: Path | bytes, most_bytes: int = MOST, name: str = "") -> pa.Table:
    """A Parquet file, or the bytes of one, as a table; the memory that it takes is checked before it is unpacked.

    most_bytes: what the table may take in memory; reading takes up to twice that. Texts in structures and lists count
        as if each were as long as all that differ together. name: of bytes, for messages.

    Raises HarnessError for what is no regular file, no Parquet, damaged or too large; OSError where nothing is.
    """
    if isinstance(source, Path):
        name = str(source)
        check_regular(source)
        source.open("rb").close()
    try:
        with _opened(source) as file, _bytes(source) as stored:
            _check_claims(file.metadata, most_bytes)
            for group in map(file.metadata.row_group, range(file.metadata.num_row_groups)):
                for chunk in map(group.column, range(group.num_columns)):
                    check_pages(stored, chunk)
            coded = _coded(file.metadata)
        if coded:
            with _opened(source, read_dictionary=coded) as file:
                _check_texts(file.read(columns=coded, use_threads=False), most_bytes)
        with _opened(source) as file:
            return file.read(use_threads=False)
    except (pa.ArrowException, ValueError, OverflowError, OSError) as error:
        # What pyarrow says may hold several lines and a stack of its own.
        reason = str(error).partition("\n")[0].rstrip(". ")
        raise HarnessError(f"{name or 'The table'} is damaged or no Parquet table ({reason}).") from error


def _opened(source: Path | bytes, **options: Any) -> pq.ParquetFile:
    opened = source if isinstance(source, Path) else pa.BufferReader(source)
    return pq.ParquetFile(opened, arrow_extensions_enabled=False, pre_buffer=False, **options)


def _bytes(source: Path | bytes) -> BinaryIO:
    return source.open("rb") if isinstance(source, Path) else io.BytesIO(source)


def _check_claims(metadata: pq.FileMetaData, most: int) -> None:
    """Raise ValueError where values and pages, as the file's footer counts them, take more than `most` bytes."""
    taken = 0
    for group in map(metadata.row_group, range(metadata.num_row_groups)):
        for k in range(group.num_columns):
            chunk, column = group.column(k), metadata.schema.column(k)
            if min(chunk.total_uncompressed_size, chunk.num_values, group.num_rows) < 0:
                raise ValueError(f"column {column.path!r} has a negative size")
            if "DELTA_BYTE_ARRAY" in chunk.encodings:
                raise ValueError(f"column {column.path!r} is in DELTA_BYTE_ARRAY, whose size in memory is not known")
            width = WIDTHS.get(column.physical_type, column.length) + 4  # two levels of nesting, 16 bits each
            width += OBJECT * (column.physical_type == "BYTE_ARRAY" and not _is_coded(chunk))
            if _is_coded(chunk) and _is_nested(column):
                width += chunk.total_uncompressed_size
            taken += chunk.total_uncompressed_size + max(chunk.num_values, group.num_rows) * width
    if taken > most:
        raise ValueError(f"unpacked it takes {taken:,} bytes, of which {most:,} are allowed")


def _is_coded(chunk: pq.ColumnChunkMetaData) -> bool:
    return chunk.physical_type == "BYTE_ARRAY" and not {"PLAIN_DICTIONARY", "RLE_DICTIONARY"}.isdisjoint(
        chunk.encodings
    )


def _is_nested(column: pq.ColumnSchema) -> bool:
    return bool(column.max_definition_level > 1 or column.max_repetition_level)


def _coded(metadata: pq.FileMetaData) -> list[str]:
    """Names of the columns of texts or bytes that Parquet stores as numbers of a dictionary, nested ones aside."""
    flat = {column.path for k in range(metadata.num_columns) if not _is_nested(column := metadata.schema.column(k))}
    groups = [metadata.row_group(k) for k in range(metadata.num_row_groups)]
    chunks = [group.column(k) for group in groups for k in range(group.num_columns)]
    return list(
        dict.fromkeys(chunk.path_in_schema for chunk in chunks if _is_coded(chunk) and chunk.path_in_schema in flat)
    )


def _check_texts(table: pa.Table, most: int) -> None:
    """Raise ValueError where texts that are numbers of a dictionary, written out, take more than `most` bytes."""
    taken = 0
    for array in (chunk for column in table.columns for chunk in column.chunks):
        if pa.types.is_dictionary(array.type):
            lengths = pc.take(pc.binary_length(array.dictionary), array.indices)
            taken += OBJECT * len(array.dictionary) + (pc.sum(lengths).as_py() or 0)
    if taken > most:
        raise ValueError(f"unpacked its texts take {taken:,} bytes, of which {most:,} are allowed")


def columns(table: pa.Table) -> Rows:
    """A Parquet table as numpy columns; lists become (N, K)."""
    rows: Rows = {}
    for name in table.column_names:
        column = table[name].combine_chunks()
        if pa.types.is_fixed_size_list(column.type):
            rows[name] = column.flatten().to_numpy().reshape(len(column), -1)
        elif pa.types.is_string(column.type) and not column.null_count:
            # A text once in memory, however many rows have it.
            coded = column.dictionary_encode()
            rows[name] = coded.dictionary.to_numpy(zero_copy_only=False)[coded.indices.to_numpy()]
        else:
            rows[name] = column.to_numpy(zero_copy_only=False)
    return rows


def table_of(rows: Mapping[str, Any]) -> pa.Table:
    """Numpy columns (N,) or (N, K) as a Parquet table; repeated strings are dictionary-encoded by Parquet itself."""
    arrays = {}
    for name, values in rows.items():
        array = np.asarray(values)
        flat = pa.array(array.reshape(-1))
        arrays[name] = flat if array.ndim == 1 else pa.FixedSizeListArray.from_arrays(flat, array.shape[1])
    return pa.table(arrays)


def joined(batches: list[Rows]) -> Rows:
    """Several tables of the same columns as one; no columns where there are no tables."""
    return {name: np.concatenate([rows[name] for rows in batches]) for name in batches[0]} if batches else {}


def with_rest(rows: Rows, old: Rows | None) -> Rows:
    """Rows, and those of an older interim state for the images that `rows` lacks."""
    if old is None:
        return rows
    rest = ~np.isin(old["id"], rows["id"])
    return joined([rows, {name: values[rest] for name, values in old.items()}])


def marked(rows: Rows, final: bool) -> Rows:
    """The rows as an interim state holds them: see `FINAL`."""
    return {**rows, FINAL: np.full(len(rows["id"]), final)}


def final(rows: Rows | None, batch: Batch) -> Rows | None:
    """A batch's rows out of an interim state, if all of them are there and final."""
    if rows is None:
        return None
    place = {name: k for k, name in enumerate(rows["id"]) if rows[FINAL][k]}
    if not place.keys() >= set(batch.ids):
        return None
    index = [place[name] for name in batch.ids]
    return {name: values[index] for name, values in rows.items() if name != FINAL}


def known(rows: Rows | None, batch: Batch) -> Columns | None:
    """The interim columns of a batch's images, zeros for those that have none; None if none has."""
    import torch

    if rows is None or not np.isin(batch.ids, rows["id"]).any():
        return None
    place = {name: k for k, name in enumerate(rows["id"])}
    index = np.array([place.get(name, len(place)) for name in batch.ids])
    columns = {name: values for name, values in rows.items() if name not in ("id", "condition", "label", FINAL)}
    return {n: torch.from_numpy(np.concatenate([v, np.zeros_like(v[:1])])[index]) for n, v in columns.items()}


def of_batch(batch: Batch, condition: Condition, columns: Columns) -> Rows:
    """The rows of a batch under a condition: keys, and the columns that the suite observed."""
    keys = {"id": np.array(batch.ids), "condition": np.full(len(batch), condition.name), "label": batch.labels.numpy()}
    return {**keys, **{name: column.numpy() for name, column in columns.items()}}
