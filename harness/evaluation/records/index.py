"""An index of the records below a folder: what was read and checked once is not checked again while it is unchanged.

The index is a JSON file in the user's cache folder, sealed by its hash (`harness.base.cache`). It holds every checked
record with its file's path, size and times. A record counts as unchanged while all three are the same; the index as
absent while it is damaged, of another folder or of other code. Nothing is written beside the records.
"""

from __future__ import annotations

import contextlib
import gc
import hashlib
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from harness import types
from harness.base import cache, parsing, provenance, validation
from harness.evaluation.records import record
from harness.evaluation.records.record import RunRecord
from harness.types import Metric

FEWEST = 100
"""Files from which on an index is worth its own file: checking fewer takes a fifth of a second."""

SETTLED = 2.0
"""Seconds without a change before a file is indexed: some file systems count time in steps of two seconds."""

Stamp = list[int]
"""Size, time of content and time of state of a file, in nanoseconds."""

READER = validation.Reader({})
"""Reads what was checked before, ranges included: types alone."""

Kind = tuple[str, str, str, bool]
"""Fields of a metric that many records share: name, condition, unit and direction."""


@dataclass(frozen=True)
class Index:
    """The index of one folder, as it was when its files were looked at.

    root: the folder. stamps: of the files in it, before any was read. records: the unchanged ones, by file.
    """

    root: Path
    stamps: Mapping[Path, Stamp]
    records: Mapping[Path, RunRecord]

    def store(self, entries: Sequence[RunRecord]) -> None:
        """Write the index anew where some of the entries, as read after the stamps were taken, are not in it.

        Without a writable cache folder nothing is written. Of two processes that write at once, the last one stays.
        """
        latest = time.time_ns() - int(SETTLED * 1e9)
        lasting, new = [], False
        for entry in entries:
            stamp = self.stamps.get(entry.path) if entry.path else None
            if entry.path in self.records:
                lasting.append((entry, stamp))
            elif stamp and max(stamp[1:]) < latest and record.has_its_key(entry):  # others: see `record.load`
                lasting.append((entry, stamp))
                new = True
        if new and len(self.stamps) >= FEWEST:
            cache.store("records", _mark(self.root), _packed(self.root, lasting), _name(self.root))


def of(root: Path, files: Sequence[Path]) -> Index:
    """The index of a folder for these files in it; without records where there are few files or no valid index."""
    stamps = {file: state for file in files if (state := stamp(file))}
    content = cache.load("records", _mark(root), _name(root)) if len(files) >= FEWEST else None
    records: dict[Path, RunRecord] = {}
    if content is not None:
        with contextlib.suppress(ValueError, TypeError, KeyError, IndexError), _without_collections():
            records = dict(_unpacked(root, content, stamps))
    return Index(root, stamps, records)


def stamp(file: Path) -> Stamp | None:
    """Size and times of a file; None where there is none."""
    with contextlib.suppress(OSError):
        status = file.stat()
        return [status.st_size, status.st_mtime_ns, status.st_ctime_ns]
    return None


def _packed(root: Path, entries: Sequence[tuple[RunRecord, Stamp | None]]) -> bytes:
    kinds: dict[Kind, int] = {}
    rows = {}
    for entry, stamp in entries:
        numbers = [
            (kinds.setdefault((m.name, m.condition, m.unit, m.higher_is_better), len(kinds)), m.value, *m.interval, m.n)
            for m in entry.metrics
        ]
        values = {name: value for name, value in vars(entry).items() if name != "path"} | {"metrics": []}
        assert entry.path is not None
        rows[str(entry.path.relative_to(root))] = (stamp, values, numbers)
    return json.dumps({"kinds": list(kinds), "records": rows}, default=vars, separators=(",", ":")).encode()


def _unpacked(root: Path, content: bytes, stamps: Mapping[Path, Stamp]) -> Iterator[tuple[Path, RunRecord]]:
    """The records in an index that are unchanged by their stamps; numbers are as they were written in the records."""
    packed = json.loads(content)
    kinds: list[Kind] = packed["kinds"]
    for name, (stamp, values, numbers) in packed["records"].items():
        file = root / name
        if stamps.get(file) == stamp:
            yield file, replace(READER(RunRecord, values), metrics=_metrics(kinds, numbers), path=file)


def _metrics(kinds: Sequence[Kind], numbers: Sequence[Any]) -> tuple[Metric, ...]:
    metrics = []
    for kind, value, low, high, n in numbers:
        name, condition, unit, higher_is_better = kinds[kind]
        metrics.append(Metric(name, condition, value, (low, high), n, unit, higher_is_better))
    return tuple(metrics)


@contextlib.contextmanager
def _without_collections() -> Iterator[None]:
    """No search for garbage while a hundred thousand objects are made that all stay."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _name(root: Path) -> str:
    """The index's file: one per folder, so that an outdated index is overwritten."""
    return hashlib.sha256(str(root.resolve()).encode(errors="surrogateescape")).hexdigest()[:24]


def _mark(root: Path) -> str:
    """Everything but the records that decides an index: the folder, and the code that reads and checks."""
    own = [Path(module.__file__ or "") for module in (validation, parsing, provenance)]
    code = [*own, *sorted(Path(__file__).parent.glob("*.py")), *sorted(Path(types.__file__).parent.glob("*.py"))]
    hashes = [hashlib.sha256(file.read_bytes()).hexdigest() for file in code]
    return "\n".join([str(root.resolve()), *hashes])
