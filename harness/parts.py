"""Finished parts and interim states of them as sealed Parquet files, checked against the plan when they are read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from harness import sealed
from harness.sealed import Damaged
from harness.tables import FINAL, Rows, columns, table_of
from harness.types import Condition, Dataset

KEYS = ("id", "condition", "label")
"""Columns that every part begins with."""


@dataclass(frozen=True)
class Part:
    """The unit that is computed and written in one piece: some samples of one condition.

    name: says which samples of which data it holds. indices: their places in the data of the condition.
    """

    name: str
    condition: Condition
    indices: range
    data: Dataset


def write(file: Path, rows: Rows, cost: Mapping[str, float]) -> None:
    """Put rows and what they cost on disk, sealed under the names of the folder and the file."""
    table = table_of(rows).replace_schema_metadata({"cost": json.dumps(cost)})
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    content = bytearray(sink.getvalue())
    footer = len(content) - 8 - int.from_bytes(content[-8:-4], "little")
    content[footer:footer] = sealed.BLANK
    sealed.write(file, content, footer, _name(file))


def read(file: Path, part: Part, whole: bool, interim: bool = False) -> tuple[Rows, dict[str, float]]:
    """The rows of a part, and what they cost; Damaged for anything that was not written for this part.

    whole: every sample of the part must be there; otherwise some may be missing, whose images could not be read.
    interim: an interim state, which holds some of the samples in any order.
    """
    try:
        table = pq.read_table(pa.BufferReader(sealed.read(file, _name(file))))
        cost = json.loads(table.schema.metadata[b"cost"])
        rows = columns(table)
    except (pa.ArrowException, OSError, ValueError, KeyError, TypeError) as error:
        if isinstance(error, FileNotFoundError):
            raise
        raise Damaged(f"{type(error).__name__}: {error}") from error
    if not (isinstance(cost, dict) and {"seconds", "denoiser_calls", "halvings", "pairs"} <= cost.keys()):
        raise Damaged("it does not say what it cost")
    if table.num_rows or whole:
        _check(table, rows, part, whole, interim)
    return rows, cost


def _check(table: pa.Table, rows: Rows, part: Part, whole: bool, interim: bool) -> None:
    """Raise Damaged where the rows are not the planned samples with numbers for each."""
    names = table.column_names
    if tuple(names[:3]) != KEYS or len(names) < 4 or interim != (FINAL in names):
        raise Damaged(f"it has the columns {', '.join(names)}")
    if odd := [name for name in names if table[name].null_count or (name not in KEYS[:2] and not _numbers(rows[name]))]:
        raise Damaged(f"its columns {', '.join(odd)} do not hold a number for every sample")
    if set(rows["condition"]) != {part.condition.name}:
        raise Damaged(f"it is not of the condition {part.condition.name!r} alone")
    ids = part.data.ids
    planned = {ids[i]: i for i in part.indices}
    places = [planned.get(name, -1) for name in rows["id"]]
    in_order = interim or places == sorted(places)
    if -1 in places or len(set(places)) < len(places) or not in_order or (whole and len(places) < len(part.indices)):
        raise Damaged("its samples are not those of the plan")
    if (rows["label"] != part.data.labels[places].numpy()).any():
        raise Damaged("its labels are not those of the data")


def _numbers(values: np.ndarray) -> bool:
    return values.dtype.kind in "iufb"


def _name(file: Path) -> str:
    return f"{file.parent.name}/{file.name}"
