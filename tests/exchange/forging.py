"""Copies of shipped records, and changes of them by somebody who also knows how to compute every hash."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from helpers import ROOT

from harness.base.provenance import key_of
from harness.evaluation.records import keys, record
from harness.evaluation.records.journal import record_file

RESULTS = ROOT / "results"


def shipped(suite: str, pair: str) -> Path:
    """The file of a shipped record: ``digits.vit--de`` of the suite ``digits``."""
    (file,) = (RESULTS / suite).glob(f"{pair}--*.json")
    return file


@dataclass
class Forgery:
    """A record and its table in the hands of a forger."""

    values: dict[str, Any]
    table: pa.Table

    @classmethod
    def of(cls, file: Path) -> Forgery:
        """A copy of a record and its table."""
        return cls(json.loads(file.read_text()), pq.read_table(file.with_suffix(".parquet")))

    def set_cell(self, name: str, row: int, value: Any) -> None:
        """Another value in the table."""
        cells = self.table[name].to_pylist()
        cells[row] = value
        column = pa.array(cells, self.table.schema.field(name).type)
        self.table = self.table.set_column(self.table.column_names.index(name), name, column)

    def write(self, folder: Path, *, hashed: bool = True) -> Path:
        """Write both into a folder. hashed: with key, names and all hashes as a run would write them."""
        values = self.values
        spec = record.READER(record.RunSpec, values["spec"])
        place = folder / record_file(values["suite"], values["model"]["name"], values["method"], values["key"])
        if hashed:
            deciding = keys.identity(
                spec, values["suite_version"], values["facts"], ("", ""), values["model"]["sha256"],
                values["denoiser"]["sha256"] if values["denoiser"] else "",
            )  # fmt: skip
            values["key"] = key_of({**deciding, "data": values["data_sha256"]})
            place = folder / record_file(values["suite"], values["model"]["name"], values["method"], values["key"])
            values["samples"]["file"] = place.with_suffix(".parquet").name
        place.parent.mkdir(parents=True, exist_ok=True)
        table = place.with_name(values["samples"]["file"])
        pq.write_table(self.table, table, compression="zstd")
        if hashed:
            rows = self.table.num_rows
            digest = hashlib.sha256(table.read_bytes()).hexdigest()
            values["samples"] |= {"sha256": digest, "rows": rows}
            values["cost"]["images"] = rows
            values["sha256"] = record.sha256_of(values)
        place.write_text(json.dumps(values, indent=1, sort_keys=True) + "\n")
        return place


Change = Callable[[Forgery], None]
