"""Rewrite the intervals of the shipped records from their sample tables, after a change of `harness.metrics.intervals`.

    python studies/renew_records.py results

Values, keys and sample tables stay as they are; a value that this code would not compute stops the program before it
writes that record. Afterwards: harness leaderboard --write, and python studies/pairs.py results > results/pairs.md
"""

from __future__ import annotations

import argparse
import math
import sys
from dataclasses import replace
from pathlib import Path

from harness import plugins
from harness.evaluation.records import record
from harness.evaluation.records.record import RunRecord
from harness.report import boards
from harness.types import HarnessError

ROUNDING = 1e-12
"""Values that differ by less are the same."""


def renewed(entry: RunRecord) -> RunRecord:
    """The record with the intervals of its sample table. Raises HarnessError where a value would change.

    Values stay as they are to the bit: the last one of a sum depends on the processor.
    """
    summarised, notes = plugins.suite.configure(entry.suite).plugin.summarise(entry.rows())
    metrics = tuple(replace(new, value=old.value) for old, new in zip(entry.metrics, summarised, strict=False))
    bare = [[replace(m, interval=(0.0, 0.0)) for m in side] for side in (entry.metrics, metrics)]
    for old, new in zip(entry.metrics, summarised, strict=False):
        if not math.isclose(old.value, new.value, rel_tol=ROUNDING, abs_tol=ROUNDING):
            raise HarnessError(f"{entry.path}: '{old.name}' of '{old.condition}' would change its value.")
    if bare[0] != bare[1] or len(summarised) != len(metrics):
        raise HarnessError(f"{entry.path}: its sample table has other metrics than the record.")
    # Notes on classes or images left out come from the run; the table does not have them.
    return replace(entry, metrics=metrics, notes=tuple(dict.fromkeys([*entry.notes, *notes])))


def main() -> None:
    """Renew every shipped record of a results folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path, help="folder of the records")
    root: Path = parser.parse_args().results
    plugins.discover()
    shipped = [r for r in boards.find(root) if r.path and not boards.is_local(r.path, root)]
    for entry in shipped:
        assert entry.path
        record.save(renewed(entry), entry.path)
    sys.stdout.write(f"{len(shipped)} records\n")


if __name__ == "__main__":
    main()
