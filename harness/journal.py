"""How a record comes about on disk: finished parts, interim states, and the record when all is there.

    results/local/.parts/6a5b4c3d2e1f/0003-000200-200-9f86d081884c.parquet

Every file appears whole or not at all. The hash in the names identifies everything that decides a number, so a part
is never mixed into another run. What is read back is checked first; damage counts as absence, and is remembered to be
told.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from harness import parts
from harness.errors import Notice
from harness.files import check_regular, file_sha256, writing
from harness.parts import Part
from harness.record import load, save
from harness.sealed import Damaged
from harness.tables import Rows, joined, table_of
from harness.types import HarnessError


class Journal:
    """The finished parts of one record, on disk.

    out: results folder. suite, model, method: for the file name. key: see `key_of`.
    shared: the same for the parts, which say themselves what data they are of. plan: the parts, in order.
    damage: by file, what was wrong with it; see `tell_damage`.
    """

    def __init__(
        self, out: Path, suite: str, model: str, method: str, key: str, shared: str, plan: Sequence[Part]
    ) -> None:
        stem = f"{_safe(model)}--{_safe(method)}--{key}"
        self.file = out / _safe(suite.partition(":")[0]) / f"{stem}.json"
        self.damage: dict[Path, str] = {}
        self._key, self._parts, self._plan = key, out / ".parts" / shared, plan
        self._data = plan[0].data.sha256[:12] if plan else ""

    @property
    def folders(self) -> Sequence[Path]:
        """Where the record and its parts lie."""
        return self.file.parent, self._parts

    @property
    def probes(self) -> Sequence[Path]:
        """The probes that lie beside the parts of this data: see `harness.resume`."""
        return sorted(self._parts.glob(f"{self._data}-*.probe"))

    def probe_file(self, device: str) -> Path:
        """Where the probe of a device belongs; parts of other data have their own, as their images may be others."""
        return self._parts / f"{self._data}-{hashlib.sha256(device.encode()).hexdigest()[:6]}.probe"

    def done(self, rows: int = 0, status: str = "") -> bool:
        """Whether the record itself is there, with its sample table undamaged and with as many rows at least.

        status: what it must be called; empty for any.
        """
        if not self.file.exists():
            return False
        try:
            record = load(self.file)
        except HarnessError as error:
            return self._lacks(self.file, str(error).removeprefix(f"{self.file} "))
        table = self.file.with_suffix(".parquet")
        try:
            check_regular(table)
            same = record.samples["file"] == table.name and record.samples["sha256"] == file_sha256(table)
        except (OSError, HarnessError) as error:
            return self._lacks(table, getattr(error, "strerror", None) or str(error))
        if record.key != self._key:
            return self._lacks(self.file, f"it is the record with the key {record.key}")
        if not same:
            return self._lacks(table, f"its SHA-256 is not the one in {self.file.name}")
        return bool(record.samples["rows"] >= rows) and status in ("", record.status)

    def has(self, part: Part, whole: bool = False) -> bool:
        """Whether a part is on disk and undamaged. whole: without samples that could not be read."""
        return self._read(part, whole) is not None

    def write(self, part: Part, rows: Rows, cost: Mapping[str, float], interim: bool = False) -> None:
        """Put a finished part on disk, or an interim state of one."""
        parts.write(self._interim(part) if interim else self._part(part), rows, cost)
        if not interim:
            self._interim(part).unlink(missing_ok=True)

    def interim(self, part: Part) -> tuple[Rows | None, dict[str, float]]:
        """The interim state of a part that was interrupted, and what it had cost; None where there is none."""
        file = self._interim(part)
        try:
            return parts.read(file, part, whole=False, interim=True)
        except FileNotFoundError:
            return None, {}
        except Damaged as error:
            self._lacks(file, str(error))
            return None, {}

    def read(self, whole: bool) -> tuple[Rows, dict[str, float]] | None:
        """All rows in the order of the plan, and the summed cost; None where a part is missing. whole: see `has`."""
        found = []
        for part in self._plan:
            if (one := self._read(part, whole)) is None:
                return None
            found.append(one)
        total = {name: sum(cost[name] for _, cost in found) for name in found[0][1]}
        # A part of which no image could be read has no columns.
        tables = [rows for rows, _ in found if rows]
        if any(_types(rows) != _types(tables[0]) for rows in tables):
            raise HarnessError(f"{self._parts} holds parts with different columns. Start over with --fresh.")
        return joined(tables), total

    def finish(self, rows: Rows, make: Any) -> None:
        """Write the sample table, then the record that `make(samples)` returns."""
        samples = self.file.with_suffix(".parquet")
        with writing(samples) as partial, partial.open("wb") as opened:  # which takes any name, pyarrow only UTF-8
            pq.write_table(table_of(rows), opened, compression="zstd")
        digest = hashlib.sha256(samples.read_bytes()).hexdigest()
        save(make({"file": samples.name, "sha256": digest, "rows": len(rows["id"])}), self.file)

    def tidy(self) -> None:
        """Drop the parts of a finished record, also those of a second run of the same, as far as possible."""
        with suppress(OSError):  # a folder that is read-only
            self.clear_parts()

    def clear_parts(self) -> None:
        """Forget the parts; the record stays, and so do parts of other data."""
        for part in self._plan:
            self._part(part).unlink(missing_ok=True)
            self._interim(part).unlink(missing_ok=True)
        for file in self.probes:
            file.unlink(missing_ok=True)
        with suppress(OSError):
            self._parts.rmdir()

    def clear(self) -> None:
        """Forget everything, for ``--fresh``."""
        self.clear_parts()
        for file in (self.file, self.file.with_suffix(".parquet")):
            file.unlink(missing_ok=True)

    def _read(self, part: Part, whole: bool) -> tuple[Rows, dict[str, float]] | None:
        file = self._part(part)
        try:
            return parts.read(file, part, whole)
        except FileNotFoundError:
            return None
        except Damaged as error:
            self._lacks(file, str(error))
            return None

    def _lacks(self, file: Path, reason: str) -> bool:
        self.damage[file] = reason
        return False

    def _part(self, part: Part) -> Path:
        return self._parts / f"{part.name}.parquet"

    def _interim(self, part: Part) -> Path:
        return self._parts / f"{part.name}.interim"


def tell_damage(journals: Sequence[Journal]) -> None:
    """Give one notice for everything that was found damaged since the last one."""
    found = {file: reason for journal in journals for file, reason in journal.damage.items()}
    for journal in journals:
        journal.damage.clear()
    if found:
        file, reason = next(iter(found.items()))
        more = f" {len(found) - 1} more are damaged, too." if len(found) > 1 else ""
        warnings.warn(Notice(f"{file} is damaged ({reason}) and is computed anew.{more}"), stacklevel=2)


def _types(rows: Rows) -> dict[str, Any]:
    return {name: (values.dtype, values.shape[1:]) for name, values in rows.items()}


def _safe(name: str) -> str:
    return "".join(c if c.isalnum() or c in "+-_=,." else "." for c in name)[-80:]
