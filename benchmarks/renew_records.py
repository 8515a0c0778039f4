"""Rewrite the intervals of the shipped records from their sample tables, once, after a change of `harness.intervals`.

    python benchmarks/renew_records.py results

Values, keys and sample tables stay as they are; a value that this code would not compute stops the program before it
writes that record. Afterwards: harness leaderboard --write, and python benchmarks/pairs.py results > results/pairs.md
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

from harness import leaderboard, plugins, record
from harness.record import RunRecord
from harness.types import HarnessError


def renewed(entry: RunRecord) -> RunRecord:
    """The record with the metrics of its sample table. Raises HarnessError where more than intervals would change."""
    metrics, notes = plugins.suite.configure(entry.suite)[1].summarise(entry.rows())
    bare = [[replace(m, interval=(0.0, 0.0)) for m in found] for found in (entry.metrics, metrics)]
    if bare[0] != bare[1]:
        changed = next((a for a, b in zip(*bare, strict=False) if a != b), bare[0][-1])
        raise HarnessError(f"{entry.path}: '{changed.name}' of '{changed.condition}' would change its value.")
    return replace(entry, metrics=tuple(metrics), notes=tuple(notes))


def main(root: Path) -> None:
    """Every shipped record below a results folder."""
    plugins.discover()
    shipped = [r for r in leaderboard.find(root) if r.path and not leaderboard.is_local(r.path, root)]
    for entry in shipped:
        assert entry.path
        record.save(renewed(entry), entry.path)
    sys.stdout.write(f"{len(shipped)} records\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
