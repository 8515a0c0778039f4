"""Sample tables of a board's records: present, and the ones that their records were computed from."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Sequence

from harness.base import cache
from harness.base.errors import HarnessError
from harness.evaluation.records import index
from harness.evaluation.records.record import RunRecord
from harness.report.names import label

MISSING = "is not beside its record"
DAMAGED = "is damaged, or another record's"


def faults(board: Sequence[RunRecord]) -> list[str]:
    """The fault of each record's sample table, `MISSING` or `DAMAGED`; empty for the right ones.

    A table is hashed again where its path, size or times have changed since all of the board's were hashed.
    """
    paths = [entry.path.with_name(entry.samples["file"]) if entry.path else None for entry in board]
    stamps = [index.stamp(path) if path else None for path in paths]
    hashes = [entry.samples["sha256"] for entry in board]
    mark = json.dumps([[str(path and path.absolute()) for path in paths], stamps, hashes])
    content = cache.load("tables", mark)
    if content is not None:
        remembered: list[str] = json.loads(content)
        return remembered
    answers = [_fault(entry, bool(stamp)) for entry, stamp in zip(board, stamps, strict=True)]
    latest = max((moment for stamp in stamps if stamp for moment in stamp[1:]), default=0)
    if latest < time.time_ns() - int(index.SETTLED * 1e9):
        cache.store("tables", mark, json.dumps(answers).encode())
    return answers


def _fault(entry: RunRecord, present: bool) -> str:
    if not present or not entry.path:
        return MISSING
    from harness.evaluation.records import sample_table  # pyarrow, which leaderboards do without

    try:
        content = sample_table.content(entry.path.with_name(entry.samples["file"]))
    except HarnessError:
        return DAMAGED
    return "" if hashlib.sha256(content).hexdigest() == entry.samples["sha256"] else DAMAGED


def sentence(entry: RunRecord, fault: str) -> str:
    """Words on a fault, for the caption of a board."""
    return f"the sample table of {label(entry)} {fault}"
