"""Parquet files of unknown origin: the memory that they take is checked before they are unpacked."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from harness.base.files import check_regular
from harness.base.parquet_pages import check_pages
from harness.types import HarnessError

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

    Raises HarnessError for a file that is not regular, not Parquet, damaged or too large; OSError for a missing one.
    """
    if isinstance(source, Path):
        name = str(source)
        check_regular(source)
        source.open("rb").close()
    try:
        with _open(source) as file, _bytes(source) as stored:
            _check_claims(file.metadata, most_bytes)
            for group in map(file.metadata.row_group, range(file.metadata.num_row_groups)):
                for chunk in map(group.column, range(group.num_columns)):
                    check_pages(stored, chunk)
            coded = _coded(file.metadata)
        if coded:
            with _open(source, read_dictionary=coded) as file:
                _check_texts(file.read(columns=coded, use_threads=False), most_bytes)
        with _open(source) as file:
            return file.read(use_threads=False)
    except (pa.ArrowException, ValueError, OverflowError, OSError) as error:
        # A message of pyarrow may have several lines, with a stack trace.
        reason = str(error).partition("\n")[0].rstrip(". ")
        raise HarnessError(f"{name or 'The table'} is damaged or no Parquet table ({reason}).") from error


def _open(source: Path | bytes, **options: Any) -> pq.ParquetFile:
    content = source if isinstance(source, Path) else pa.BufferReader(source)
    return pq.ParquetFile(content, arrow_extensions_enabled=False, pre_buffer=False, **options)


def _bytes(source: Path | bytes) -> BinaryIO:
    return source.open("rb") if isinstance(source, Path) else io.BytesIO(source)


def _check_claims(metadata: pq.FileMetaData, most: int) -> None:
    """Raise ValueError where values and pages, as the file's footer counts them, take more than `most` bytes."""
    total = 0
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
            total += chunk.total_uncompressed_size + max(chunk.num_values, group.num_rows) * width
    if total > most:
        raise ValueError(f"unpacked it takes {total:,} bytes, of which {most:,} are allowed")


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
    total = 0
    for array in (chunk for column in table.columns for chunk in column.chunks):
        if pa.types.is_dictionary(array.type):
            lengths = pc.take(pc.binary_length(array.dictionary), array.indices)
            total += OBJECT * len(array.dictionary) + (pc.sum(lengths).as_py() or 0)
    if total > most:
        raise ValueError(f"unpacked its texts take {total:,} bytes, of which {most:,} are allowed")
