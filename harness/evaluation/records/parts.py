"""Parts of a sample table on disk: sealed Parquet files, checked against the plan when they are read.

A finished part and the interim state of an unfinished one have the same form; the latter has one more column, `FINAL`.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from harness.base import sealed
from harness.base.sealed import Damaged
from harness.evaluation.records.rows import FINAL, KEYS, Rows, rows_of, table_of
from harness.types import Condition, Dataset

COSTS = frozenset({"seconds", "denoiser_calls", "halvings", "pairs"})
"""Costs that every part names."""


class Incomplete(Exception):
    """A part without some of its images: an earlier run could not read these, and was told to skip them.

    missing: their number.
    """

    def __init__(self, missing: int) -> None:
        super().__init__(f"{missing} of its images could not be read")
        self.missing = missing


@dataclass(frozen=True)
class Part:
    """The unit that is computed and written in one piece: some samples of one condition.

    name: says which samples of which data it holds. indices: their positions in the data of the condition.
    """

    name: str
    condition: Condition
    indices: range
    data: Dataset


def write(file: Path, rows: Rows, cost: Mapping[str, float], environment: Mapping[str, Any] | None = None) -> None:
    """Put rows and their cost on disk, sealed under the names of the folder and the file.

    environment: of the process that computed them, as JSON values.
    """
    facts = {"cost": json.dumps(cost), "environment": json.dumps(environment or {}), "host": socket.gethostname()}
    table = table_of(rows).replace_schema_metadata(facts)
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    content = bytearray(sink.getvalue())
    footer = len(content) - 8 - int.from_bytes(content[-8:-4], "little")
    content[footer:footer] = sealed.BLANK
    sealed.write(file, content, footer, _sealed_name(file))


def read(file: Path, part: Part, *, every_image: bool) -> tuple[Rows, dict[str, float]]:
    """The rows of a finished part, and their cost.

    every_image: refuse a part without the images that could not be read when it was made.
    Raises Damaged for a file that was not written for this part, Incomplete for one that lacks images,
    FileNotFoundError for none.
    """
    table, rows, cost = _unsealed(file)
    if table.num_rows:
        _check(table, rows, part, interim=False)
    missing = len(part.indices) - table.num_rows
    if every_image and missing:
        raise Incomplete(missing)
    return rows, cost


def environment_of(file: Path) -> dict[str, Any]:
    """The environment that computed a part, which was read before; empty for a part of an older version."""
    with file.open("rb") as source:  # which takes any name, pyarrow only UTF-8
        metadata = pq.read_schema(source).metadata or {}
    values: dict[str, Any] = json.loads(metadata.get(b"environment", b"{}"))
    return values


def read_interim(file: Path, part: Part) -> tuple[Rows, dict[str, float]]:
    """The interim state of a part, some of its samples in any order, and their cost; errors as of `read`."""
    table, rows, cost = _unsealed(file)
    if table.num_rows:
        _check(table, rows, part, interim=True)
    return rows, cost


def _unsealed(file: Path) -> tuple[pa.Table, Rows, dict[str, float]]:
    try:
        table = pq.read_table(pa.BufferReader(sealed.read(file, _sealed_name(file))))
        cost = json.loads(table.schema.metadata[b"cost"])
        rows = rows_of(table)
    except FileNotFoundError:
        raise
    except (pa.ArrowException, OSError, ValueError, KeyError, TypeError) as error:
        raise Damaged(f"{type(error).__name__}: {error}") from error
    if not (isinstance(cost, dict) and cost.keys() >= COSTS):
        raise Damaged("it does not say what it cost")
    return table, rows, cost


def _check(table: pa.Table, rows: Rows, part: Part, interim: bool) -> None:
    """Raise Damaged unless the rows are planned samples with a number in every column."""
    names = table.column_names
    if tuple(names[:3]) != KEYS or len(names) < 4 or interim != (FINAL in names):
        raise Damaged(f"it has the columns {', '.join(names)}")
    for name in names:
        if table[name].null_count or not (name in KEYS[:2] or _is_number(rows[name])):
            raise Damaged(f"its column {name} does not hold a number for every sample")
    if set(rows["condition"]) != {part.condition.name}:
        raise Damaged(f"it is not of the condition {part.condition.name!r} alone")
    ids = part.data.ids
    planned = {ids[i]: i for i in part.indices}
    positions = [planned.get(name, -1) for name in rows["id"]]
    in_order = interim or positions == sorted(positions)
    if -1 in positions or len(set(positions)) < len(positions) or not in_order:
        raise Damaged("its samples are not those of the plan")
    if (rows["label"] != part.data.labels[positions].numpy()).any():
        raise Damaged("its labels are not those of the data")


def _is_number(values: np.ndarray) -> bool:
    return values.dtype.kind in "iufb"


def _sealed_name(file: Path) -> str:
    return f"{file.parent.name}/{file.name}"
