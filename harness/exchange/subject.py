"""A record under examination: its JSON, its sample table, its suite and the data behind it, each opened once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa

from harness import plugins
from harness.base.errors import HarnessError, near_matches
from harness.base.files import read_limited
from harness.base.parsing import parse_json
from harness.base.validation import shown
from harness.evaluation.records import record as records
from harness.evaluation.records import sample_table
from harness.evaluation.records.record import RunRecord
from harness.evaluation.records.rows import Rows, rows_of
from harness.exchange.inputs import DataAtHand


class Unverifiable(Exception):
    """A record whose metrics cannot be computed again here; the message says why, and what would help."""


@dataclass
class Examined:
    """A record under examination.

    file: of the record. values: its JSON. record: the same, each field of its type. inputs: data at hand.
    shuffled: rows were seen to be in another order than a run writes them.
    """

    file: Path
    values: Mapping[str, Any]
    record: RunRecord
    inputs: DataAtHand
    table_file: Path = field(init=False)
    shuffled: bool = field(init=False, default=False)

    def __post_init__(self) -> None:
        self.table_file = self.file.with_name(self.record.samples["file"])

    @cached_property
    def content(self) -> bytes:
        """The bytes of the sample table; HarnessError for a missing one."""
        return sample_table.content(self.table_file)

    @cached_property
    def table(self) -> pa.Table:
        """The sample table, its columns of the right types; HarnessError for a damaged one."""
        return sample_table.opened(self.content, self.table_file)

    @cached_property
    def rows(self) -> Rows:
        """The sample table as numpy columns."""
        return rows_of(self.table)

    def release(self) -> None:
        """Forget the table, which is read again where it is needed: many records have more than fits into memory."""
        for name in ("content", "table", "rows"):
            self.__dict__.pop(name, None)

    @cached_property
    def suite(self) -> Any:
        """The record's suite, configured; raises Unverifiable for one that is not here, or not in this version."""
        text, code = self.record.suite, self.record.plugins.get("suite", "")
        name = text.partition(":")[0]
        if name not in plugins.suite:
            file = code.rpartition(" ")[0] or "FILE.py"
            hint = "" if code else near_matches(name, [entry.name for entry in plugins.suite.entries()])
            raise Unverifiable(f"suite {name!r} cannot be recomputed without --plugin {file}.{hint}")
        entry = plugins.suite[name]
        if entry.source != code.rpartition(" ")[2]:
            raise Unverifiable(f"suite {name!r} was made with {code or 'the project'}, and the one here is other code")
        try:
            suite = self.inputs.suite(text)
        except HarnessError as error:
            raise Unverifiable(f"suite {text!r} cannot be configured here ({error})") from error
        if suite.version != self.record.suite_version:
            raise Unverifiable(
                f"its suite {name!r} has version {self.record.suite_version}, and the one here version {suite.version}"
            )
        return suite


def opened(file: Path, inputs: DataAtHand) -> Examined:
    """A record's file under examination; raises HarnessError for a file that is no record.

    Raises Unverifiable for one of another schema.
    """
    try:
        values = parse_json(read_limited(file, records.LARGEST))
        if isinstance(values, dict) and values.get("schema", records.SCHEMA) != records.SCHEMA:
            raise Unverifiable(f"it has record schema {shown(values['schema'])}; this version reads {records.SCHEMA}")
        return Examined(file, values, records.parsed(values), inputs)
    except OSError as error:
        raise HarnessError(f"{error.strerror or error}") from error
    except ValueError as error:
        raise HarnessError(f"it is not a run record ({error})") from error
