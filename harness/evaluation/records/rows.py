"""Rows: sample tables as numpy columns, one row per sample and condition.

Interim states are such tables with one more column, `FINAL`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from harness.types import Batch, Columns, Condition

Rows = dict[str, Any]
"""By name, columns (N,) or (N, K)."""

KEYS = ("id", "condition", "label")
"""The first columns of every table: texts that together name a row, and the class, -1 for images of none."""

FINAL = "final"
"""Column of interim states: True for rows that are done; the others are still being computed."""


def rows_of(table: pa.Table) -> Rows:
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


def with_older_rows(rows: Rows, older: Rows | None) -> Rows:
    """Rows, followed by those of an older interim state for the images that `rows` lacks."""
    if older is None:
        return rows
    lacking = ~np.isin(older["id"], rows["id"])
    return joined([rows, {name: values[lacking] for name, values in older.items()}])


def with_final_column(rows: Rows, final: bool) -> Rows:
    """The rows as an interim state holds them: see `FINAL`."""
    return {**rows, FINAL: np.full(len(rows["id"]), final)}


def final_rows(interim: Rows | None, batch: Batch) -> Rows | None:
    """A batch's rows out of an interim state; None unless all of them are there and final."""
    if interim is None:
        return None
    places = {name: k for k, name in enumerate(interim["id"]) if interim[FINAL][k]}
    if not places.keys() >= set(batch.ids):
        return None
    index = [places[name] for name in batch.ids]
    return {name: values[index] for name, values in interim.items() if name != FINAL}


def interim_columns(interim: Rows | None, batch: Batch) -> Columns | None:
    """The columns of a batch's images in an interim state, zeros for images that have none; None if no image has."""
    import torch

    if interim is None or not np.isin(batch.ids, interim["id"]).any():
        return None
    places = {name: k for k, name in enumerate(interim["id"])}
    index = np.array([places.get(name, len(places)) for name in batch.ids])
    columns: dict[str, torch.Tensor] = {}
    for name, values in interim.items():
        if name not in (*KEYS, FINAL):
            # One more row, of zeros, for the images that the interim state lacks.
            columns[name] = torch.from_numpy(np.concatenate([values, np.zeros_like(values[:1])])[index])
    return columns


def rows_of_batch(batch: Batch, condition: Condition, columns: Columns) -> Rows:
    """The rows of a batch under a condition: keys, and the columns that the suite observed."""
    keys = {"id": np.array(batch.ids), "condition": np.full(len(batch), condition.name), "label": batch.labels.numpy()}
    return {**keys, **{name: column.numpy() for name, column in columns.items()}}
