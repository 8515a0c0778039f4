"""The journal of a record on disk: finished parts, interim states, and the record once all parts are there.

    results/local/.parts/6a5b4c3d2e1f/0003-000200-200-9f86d081884c.parquet

Every file appears in one piece or not at all. The hash in the names identifies everything that decides a number, so a
part is never mixed into another run. Every file is checked when it is read back: a damaged or incomplete one counts as
absent, and `warn_of_losses` says so.
"""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from harness.base.errors import Notice
from harness.base.files import check_regular, file_sha256, writing
from harness.base.sealed import Damaged
from harness.evaluation.kept import images
from harness.evaluation.records import parts
from harness.evaluation.records.parts import Incomplete, Part
from harness.evaluation.records.record import RunRecord, Samples, load, save
from harness.evaluation.records.rows import Rows, joined, table_of
from harness.types import HarnessError


@dataclass(frozen=True)
class Required:
    """Demands of a run on parts and records that it finds on disk.

    every_image: no planned sample may be missing; otherwise images that could not be read may be.
    rows: fewest rows of a record's sample table; None for any number.
    status: of a record, "complete" or "partial"; None for either.
    """

    every_image: bool = False
    rows: int | None = None
    status: str | None = None


class Journal:
    """The finished parts of one record, on disk.

    out: results folder. suite, model, method: for the file name. key: see `key_of`.
    shared: the same for the parts, which say themselves what data they are of. plan: the parts, in order.
    kept: names of what the run keeps: a record without it does not count, and neither do parts without, which lie in
        another folder.
    damage: by file, the fault. incomplete: by file, how many images it lacks. See `warn_of_losses`.
    """

    def __init__(
        self,
        out: Path,
        suite: str,
        model: str,
        method: str,
        key: str,
        shared: str,
        plan: Sequence[Part],
        kept: Sequence[str] = (),
    ) -> None:
        self.file = out / record_file(suite, model, method, key)
        self.damage: dict[Path, str] = {}
        self.incomplete: dict[Path, int] = {}
        self._key = key
        self._parts = out / ".parts" / "-".join([shared, *kept])
        self._kept = frozenset(kept)
        self._plan = plan
        self._data = plan[0].data.sha256[:12] if plan else ""

    @property
    def folders(self) -> Sequence[Path]:
        """The record's folder, and that of its parts."""
        return self.file.parent, self._parts

    @property
    def probes(self) -> Sequence[Path]:
        """The probes that lie beside the parts of this data: see `harness.evaluation.preflight.resume`."""
        return sorted(self._parts.glob(f"{self._data}-*.probe"))

    def probe_file(self, device: str) -> Path:
        """Place of a device's probe; parts of other data have their own, as their images may differ."""
        return self._parts / f"{self._data}-{hashlib.sha256(device.encode()).hexdigest()[:6]}.probe"

    def done(self, required: Required) -> bool:
        """True if the record is there, with its sample table undamaged, and meets the demands."""
        record = self._record()
        if record is None or not self._kept <= set(record.spec.kept):
            return False
        rows = record.samples["rows"]
        if required.rows is not None and rows < required.rows:
            if required.every_image:
                self.incomplete[self.file] = required.rows - rows
            return False
        return required.status in (None, record.status)

    def _record(self) -> RunRecord | None:
        """The record, if it and its sample table are there and undamaged."""
        if not self.file.exists():
            return None
        try:
            record = load(self.file)
        except HarnessError as error:
            self.damage[self.file] = str(error).removeprefix(f"{self.file} ")
            return None
        fault = next(self._faults(record), None)
        if fault:
            file, reason = fault
            self.damage[file] = reason
            return None
        return record

    def _faults(self, record: RunRecord) -> Iterator[tuple[Path, str]]:
        """Reasons why a record does not count although it can be read, each with its file."""
        table = self.file.with_suffix(".parquet")
        try:
            check_regular(table)
            is_own = record.samples["file"] == table.name and record.samples["sha256"] == file_sha256(table)
        except (OSError, HarnessError) as error:
            yield table, getattr(error, "strerror", None) or str(error)
            return
        if record.key != self._key:
            yield self.file, f"it is the record with the key {record.key}"
        if "images" in self._kept and record.images and not images.is_beside(record.images, self.file):
            yield self.file.with_suffix(images.SUFFIX), f"it is missing, or other images than {self.file.name} names"
        if not is_own:
            yield table, f"its SHA-256 is not the one in {self.file.name}"

    def has(self, part: Part, required: Required) -> bool:
        """True if a finished part is on disk, undamaged, and meets the demands."""
        return self._read(part, required) is not None

    def write(self, part: Part, rows: Rows, cost: Mapping[str, float], environment: Mapping[str, Any]) -> None:
        """Put a finished part on disk, in place of its interim state. environment: of the process that computed it."""
        parts.write(self._part(part), rows, cost, environment)
        self._interim(part).unlink(missing_ok=True)

    def write_interim(self, part: Part, rows: Rows, cost: Mapping[str, float]) -> None:
        """Put an interim state of a part on disk."""
        parts.write(self._interim(part), rows, cost)

    def interim(self, part: Part) -> tuple[Rows | None, dict[str, float]]:
        """The interim state of a part that was interrupted, and its cost so far; None where there is none."""
        file = self._interim(part)
        try:
            return parts.read_interim(file, part)
        except FileNotFoundError:
            return None, {}
        except Damaged as error:
            self.damage[file] = str(error)
            return None, {}

    def read(self, required: Required) -> tuple[Rows, dict[str, float]] | None:
        """All rows in the order of the plan, and the summed cost; None where a part is missing."""
        contents = []
        for part in self._plan:
            content = self._read(part, required)
            if content is None:
                return None
            contents.append(content)
        total = {name: sum(cost[name] for _, cost in contents) for name in contents[0][1]}
        # A part of which no image could be read has no columns.
        tables = [rows for rows, _ in contents if rows]
        if any(_types(rows) != _types(tables[0]) for rows in tables):
            raise HarnessError(f"{self._parts} holds parts with different columns. Start over with --fresh.")
        return joined(tables), total

    def environments(self) -> Sequence[Mapping[str, Any]]:
        """The environments that computed the parts, each once; none for parts of older versions. After `read`."""
        found = [parts.environment_of(self._part(part)) for part in self._plan]
        return [json.loads(text) for text in dict.fromkeys(json.dumps(one, sort_keys=True) for one in found if one)]

    def finish(self, rows: Rows, make: Callable[[Samples], RunRecord]) -> None:
        """Write the sample table, and the images of these rows apart; then the record that `make(samples)` returns."""
        kept = images.write(self.file.with_suffix(images.SUFFIX), rows) if images.COLUMN in rows else {}
        rows = {name: values for name, values in rows.items() if name != images.COLUMN}
        samples = self.file.with_suffix(".parquet")
        with writing(samples) as partial, partial.open("wb") as sink:  # which takes any name, pyarrow only UTF-8
            pq.write_table(table_of(rows), sink, compression="zstd")
        digest = hashlib.sha256(samples.read_bytes()).hexdigest()
        record = make({"file": samples.name, "sha256": digest, "rows": len(rows["id"])})
        save(replace(record, images=kept), self.file)

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
        for file in (self.file, *(self.file.with_suffix(suffix) for suffix in (".parquet", images.SUFFIX))):
            file.unlink(missing_ok=True)

    def _read(self, part: Part, required: Required) -> tuple[Rows, dict[str, float]] | None:
        file = self._part(part)
        try:
            return parts.read(file, part, every_image=required.every_image)
        except FileNotFoundError:
            return None
        except Incomplete as error:
            self.incomplete[file] = error.missing
            return None
        except Damaged as error:
            self.damage[file] = str(error)
            return None

    def _part(self, part: Part) -> Path:
        return self._parts / f"{part.name}.parquet"

    def _interim(self, part: Part) -> Path:
        return self._parts / f"{part.name}.interim"


def record_file(suite: str, model: str, method: str, key: str) -> Path:
    """Place of a record below a results folder; its sample table lies beside it, with the suffix ``.parquet``."""
    return Path(_safe(suite.partition(":")[0])) / f"{_safe(model)}--{_safe(method)}--{key}.json"


def warn_of_losses(journals: Sequence[Journal]) -> None:
    """One notice for all files that were damaged, one for those that lack images; each file is named once."""
    damage: dict[Path, str] = {}
    incomplete: dict[Path, int] = {}
    for journal in journals:
        damage |= journal.damage
        incomplete |= journal.incomplete
        journal.damage.clear()
        journal.incomplete.clear()
    if damage:
        file, reason = next(iter(damage.items()))
        more = f" {len(damage) - 1} more are damaged, too." if len(damage) > 1 else ""
        warnings.warn(Notice(f"{file} is damaged ({reason}) and is computed anew.{more}"), stacklevel=2)
    if incomplete:
        file, missing = next(iter(incomplete.items()))
        images = "1 image" if missing == 1 else f"{missing} images"
        more = f", and {len(incomplete) - 1} more lack some, too" if len(incomplete) > 1 else ""
        warnings.warn(
            Notice(
                f"An earlier run skipped images that it could not read: {file} lacks {images}{more}. The missing "
                "images are tried again, and what lacks them is computed anew."
            ),
            stacklevel=2,
        )


def _types(rows: Rows) -> dict[str, Any]:
    return {name: (values.dtype, values.shape[1:]) for name, values in rows.items()}


def _safe(name: str) -> str:
    return "".join(c if c.isalnum() or c in "+-_=,." else "." for c in name)[-80:]
