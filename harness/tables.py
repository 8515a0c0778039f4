"""Sample tables as numpy columns: one row per sample and condition, first id, condition and label.

Interim states are such tables with one more column, `FINAL`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from harness.types import Batch, Columns, Condition

Rows = dict[str, Any]

FINAL = "final"
"""Column of interim states: images that are done; the others go on from there."""


def columns(table: pa.Table) -> Rows:
    """A Parquet table as numpy columns; lists become (N, K)."""
    found: Rows = {}
    for name in table.column_names:
        column = table[name].combine_chunks()
        if pa.types.is_fixed_size_list(column.type):
            found[name] = column.flatten().to_numpy().reshape(len(column), -1)
        else:
            found[name] = column.to_numpy(zero_copy_only=False)
    return found


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
    """Rows, and those of an older interim state for images that have not had their turn again."""
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
    picked = [place[name] for name in batch.ids]
    return {name: values[picked] for name, values in rows.items() if name != FINAL}


def known(rows: Rows | None, batch: Batch) -> Columns | None:
    """The interim columns of a batch's images, zeros for those that have none; None if none has."""
    if rows is None or not np.isin(batch.ids, rows["id"]).any():
        return None
    place = {name: k for k, name in enumerate(rows["id"])}
    found = np.array([place.get(name, len(place)) for name in batch.ids])
    columns = {name: values for name, values in rows.items() if name not in ("id", "condition", "label", FINAL)}
    return {n: torch.from_numpy(np.concatenate([v, np.zeros_like(v[:1])])[found]) for n, v in columns.items()}


def of_batch(batch: Batch, condition: Condition, columns: Columns) -> Rows:
    """The rows of a batch under a condition, with what a suite has seen of it."""
    keys = {"id": np.array(batch.ids), "condition": np.full(len(batch), condition.name), "label": batch.labels.numpy()}
    return {**keys, **{name: column.numpy() for name, column in columns.items()}}
