"""How a record comes about on disk: finished parts, interim states, and the record when all is there.

    results/local/.parts/6a5b4c3d2e1f/0003-000200-200-9f86d081884c.parquet

Every file appears whole or not at all. The hash in the names identifies everything that decides a number, so a part
is never mixed into another run.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from harness.files import writing
from harness.record import load, save
from harness.tables import Rows, columns, table_of
from harness.types import HarnessError


class Journal:
    """The finished parts of one record, on disk.

    out: results folder. suite, model, method: for the file name. key: see `key_of`.
    shared: the same for the parts, which say themselves what data they are of. parts: their names.
    """

    def __init__(
        self, out: Path, suite: str, model: str, method: str, key: str, shared: str, parts: Sequence[str]
    ) -> None:
        stem = f"{_safe(model)}--{_safe(method)}--{key}"
        self.file = out / _safe(suite.partition(":")[0]) / f"{stem}.json"
        self._parts, self._names = out / ".parts" / shared, parts

    def done(self, rows: int = 0) -> bool:
        """Whether the record itself is there, with as many rows at least."""
        return self.file.is_file() and (not rows or load(self.file).samples["rows"] >= rows)

    def has(self, part: str, rows: int = 0) -> bool:
        """Whether a part is on disk, with as many rows at least."""
        file = self._part(part)
        return file.is_file() and (not rows or _read(file, pq.read_metadata).num_rows >= rows)

    def write(self, part: str, rows: Rows, cost: Mapping[str, float], interim: bool = False) -> None:
        """Put a finished part on disk, or an interim state of one."""
        table = table_of(rows).replace_schema_metadata({"cost": json.dumps(cost)})
        with writing(self._interim(part) if interim else self._part(part)) as partial:
            pq.write_table(table, partial)
        if not interim:
            self._interim(part).unlink(missing_ok=True)

    def interim(self, part: str) -> tuple[Rows | None, dict[str, float]]:
        """The interim state of a part that was interrupted, and what it had cost; None where there is none."""
        if not self._interim(part).is_file():
            return None, {}
        table = _read(self._interim(part))
        return columns(table), _cost(table)

    def read(self, parts: Sequence[str]) -> tuple[Rows, dict[str, float]]:
        """All rows in the order of `parts`, and the summed cost."""
        tables = [_read(self._part(part)) for part in parts]
        costs = [_cost(table) for table in tables]
        total = {name: sum(cost[name] for cost in costs) for name in costs[0]}
        # A part of which no image could be read has no columns.
        tables = [table.replace_schema_metadata(None) for table in tables if table.num_columns]
        return columns(pa.concat_tables(tables)) if tables else {}, total

    def finish(self, rows: Rows, make: Any) -> None:
        """Write the sample table, then the record that `make(samples)` returns, then drop the parts."""
        samples = self.file.with_suffix(".parquet")
        with writing(samples) as partial:
            pq.write_table(table_of(rows), partial, compression="zstd")
        digest = hashlib.sha256(samples.read_bytes()).hexdigest()
        record = make({"file": samples.name, "sha256": digest, "rows": len(rows["id"])})
        save(record, self.file)
        self.clear_parts()

    def clear_parts(self) -> None:
        """Forget the parts; the record stays, and so do parts of other data."""
        for name in self._names:
            self._part(name).unlink(missing_ok=True)
            self._interim(name).unlink(missing_ok=True)
        with suppress(OSError):
            self._parts.rmdir()

    def clear(self) -> None:
        """Forget everything, for ``--fresh``."""
        self.clear_parts()
        for file in (self.file, self.file.with_suffix(".parquet")):
            file.unlink(missing_ok=True)

    def _part(self, part: str) -> Path:
        return self._parts / f"{part}.parquet"

    def _interim(self, part: str) -> Path:
        return self._parts / f"{part}.interim"


def _read(file: Path, read: Callable[[Path], Any] = pq.read_table) -> Any:
    try:
        return read(file)
    except pa.ArrowInvalid as error:
        raise HarnessError(f"{file} is damaged ({error}). Delete it and run the same command again.") from error


def _cost(table: pa.Table) -> dict[str, float]:
    cost: dict[str, float] = json.loads(table.schema.metadata[b"cost"])
    return cost


def _safe(name: str) -> str:
    return "".join(c if c.isalnum() or c in "+-_=,." else "." for c in name)[-80:]
