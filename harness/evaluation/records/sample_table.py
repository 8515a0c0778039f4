"""Sample tables of records, read and checked: somebody else may have written them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from harness.base.errors import HarnessError
from harness.base.files import read_limited
from harness.evaluation.records.parquet import MOST, read_table
from harness.evaluation.records.rows import KEYS, Rows, rows_of

SHARES = ("confidence", "probability")
"""Columns of probabilities."""

SLACK = 0.01
"""Tolerance of probabilities beyond 0 and 1: in reduced precision their sum may be this far from 1."""


def read(file: Path, sha256: str, count: int, images: int, classes: int | None, needed: Sequence[str] = ()) -> Rows:
    """A sample table, checked against its record: hash, number of rows and of different ids, labels below `classes`.

    sha256: of the file. count: of its rows. images: number of different ids. classes: None if unknown.
    needed: columns that the caller works with, beside `KEYS`.

    Raises HarnessError for a file that is missing, other than recorded, damaged, or holds what no run writes: nulls,
    infinite numbers, a sample twice under one condition, types that no suite gives.
    """
    data = content(file)
    if hashlib.sha256(data).hexdigest() != sha256:
        raise HarnessError(
            f"{file} is not the sample table that its record was computed from (SHA-256 differs). "
            "Restore it, or delete both and run again."
        )
    table = opened(data, file, needed)
    rows = rows_of(table)
    for fault in (*key_faults(table, count, images), *value_faults(rows, classes)):
        raise HarnessError(f"{file} is no sample table ({fault}). Restore it, or delete it and run again.")
    return rows


def content(file: Path) -> bytes:
    """The bytes of a sample table; HarnessError for a file that is missing, not regular or too large."""
    try:
        return read_limited(file, MOST)
    except OSError as error:
        raise HarnessError(f"{file}: {error.strerror}. The record's sample table belongs beside it.") from error


def opened(data: bytes, file: Path, needed: Sequence[str] = ()) -> pa.Table:
    """The table in a file's bytes, with the columns of a sample table in their types; HarnessError for others.

    Rows and values are not looked at: see `key_faults` and `value_faults`.
    """
    table = read_table(data, name=str(file))
    try:
        _check_columns(table, needed)
        table.validate(full=True)
    except (ValueError, pa.ArrowException) as error:
        raise HarnessError(f"{file} is no sample table ({error}). Restore it, or delete it and run again.") from error
    return table


def _check_columns(table: pa.Table, needed: Sequence[str]) -> None:
    names = table.column_names
    if len(set(names)) < len(names):
        raise ValueError("a column is there twice")
    if lacking := [name for name in (*KEYS, *needed) if name not in names]:
        raise ValueError(f"it has no column {lacking[0]!r}")
    for name in names:
        kind = table.schema.field(name).type
        if name in ("id", "condition"):
            fits = pa.types.is_string(kind)
        elif name in ("label", "prediction"):
            fits = pa.types.is_integer(kind)
        elif name in SHARES:
            fits = pa.types.is_floating(kind)
        else:
            inner = kind.value_type if pa.types.is_fixed_size_list(kind) else kind
            fits = pa.types.is_integer(inner) or pa.types.is_floating(inner) or pa.types.is_boolean(inner)
            fits = fits or pa.types.is_string(kind)
        if not fits:
            raise ValueError(f"column {name!r} is of type {kind}")
        column = table[name]
        flat = column.combine_chunks().flatten() if pa.types.is_fixed_size_list(kind) else column
        if column.null_count or flat.null_count:
            raise ValueError(f"column {name!r} has {column.null_count or flat.null_count} empty cells")


def key_faults(table: pa.Table, rows: int, images: int) -> Iterator[str]:
    """Sentences on numbers of rows and of images other than the record's, and on a sample twice under a condition."""
    if table.num_rows != rows:
        yield f"it has {table.num_rows} rows; its record counts {rows}"
    ids, conditions = (table[name].combine_chunks().dictionary_encode() for name in ("id", "condition"))
    if len(ids.dictionary) != images:
        yield f"it has {len(ids.dictionary)} different images; its record counts {images}"
    codes = ids.indices.to_numpy().astype(np.int64) * len(conditions.dictionary) + conditions.indices.to_numpy()
    _, first, counts = np.unique(codes, return_index=True, return_counts=True)
    if (counts > 1).any():
        twice = int(first[counts > 1][0])
        name, condition = (table[key][twice].as_py() for key in ("id", "condition"))
        yield f"it has {name!r} under {condition!r} more than once"


def value_faults(rows: Rows, classes: int | None) -> Iterator[str]:
    """Sentences on numbers that are not finite, shares beyond [0, 1], and classes beyond `classes`."""
    for name, values in rows.items():
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            yield f"column {name!r} has numbers that are not finite"
        if name in SHARES and not ((values >= -SLACK) & (values <= 1 + SLACK)).all():
            yield f"column {name!r} has numbers that are no probabilities"
        most = np.iinfo(np.int32).max if classes is None else classes - 1
        if name in ("label", "prediction") and not ((values >= -1) & (values <= most)).all():
            yield f"column {name!r} has classes beyond -1 to {most}"
