"""Bring the metrics of the shipped records up to date from their sample tables, after a change of `harness.metrics`.

    python studies/renew_records.py results

Intervals follow the present code, and metrics that records lack are added. Values, keys and sample tables stay as they
are; a value that this code would not compute, or a metric that it no longer has, stops the program before it writes
that record. Afterwards: harness leaderboard --write, and python studies/pairs.py results > results/pairs.md
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
from harness.types import HarnessError, Metric

ROUNDING = 1e-12
"""Values that differ by less are the same."""

LAST_DIGIT = 2e-10
"""Ends of intervals that differ by less are the same: they are rounded to ten decimals, on any processor."""


def renewed(entry: RunRecord) -> RunRecord:
    """The record with the metrics of its sample table. Raises HarnessError where a value would change.

    Numbers that stay do so to the bit: the last one of a sum depends on the processor.
    """
    summarised, notes = plugins.suite.configure(entry.suite).plugin.summarise(entry.rows())
    older = {(m.name, m.condition): m for m in entry.metrics}
    if lost := older.keys() - {(m.name, m.condition) for m in summarised}:
        raise HarnessError(f"{entry.path}: its sample table does not give {sorted(lost)[0]}.")
    metrics = tuple(_kept(entry, older.get((new.name, new.condition), new), new) for new in summarised)
    # Notes on classes or images left out come from the run; the table does not have them.
    return replace(entry, metrics=metrics, notes=tuple(dict.fromkeys([*entry.notes, *notes])))


def _kept(entry: RunRecord, old: Metric, new: Metric) -> Metric:
    """The new metric with the value, and where it is the same the interval, of the old one."""
    if not math.isclose(old.value, new.value, rel_tol=ROUNDING, abs_tol=ROUNDING):
        raise HarnessError(f"{entry.path}: '{old.name}' of '{old.condition}' would change its value.")
    if replace(old, value=new.value, interval=new.interval) != new:
        raise HarnessError(f"{entry.path}: '{old.name}' of '{old.condition}' would change its unit or its n.")
    same = all(abs(x - y) <= LAST_DIGIT for x, y in zip(old.interval, new.interval, strict=True))
    return old if same else replace(new, value=old.value)


def main() -> None:
    """Renew every shipped record of a results folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path, help="folder of the records")
    parser.add_argument("--suite", action="append", help="only this suite; repeatable")
    arguments = parser.parse_args()
    root: Path = arguments.results
    plugins.discover()
    shipped = [r for r in boards.find(root) if r.path and not boards.is_local(r.path, root)]
    shipped = [r for r in shipped if not arguments.suite or r.suite in arguments.suite]
    for entry in shipped:
        assert entry.path
        record.save(renewed(entry), entry.path)
    sys.stdout.write(f"{len(shipped)} records\n")


if __name__ == "__main__":
    main()
