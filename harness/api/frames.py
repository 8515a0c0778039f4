"""Comparisons and leaderboards as pandas frames of unrounded numbers: those that the commands print."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from harness import plugins
from harness.base.errors import HarnessError
from harness.evaluation.records import record
from harness.evaluation.records.record import RunRecord
from harness.report import boards
from harness.report.leaderboard import ranking
from harness.report.selection import check_pairable, is_of
from harness.report.table import Table


def compare(a: RunRecord | Path | str, b: RunRecord | Path | str) -> pd.DataFrame:
    """Record b against record a on the samples that both have: what ``harness compare`` prints, unrounded.

    A row per condition or data set: difference (a fraction, positive where b is better), low and high (its 95 %
    interval), n, and p, adjusted for the number of rows (Holm). `attrs` has the table's title and caption.
    a, b: records, or paths of their .json files.
    Raises HarnessError for records of different suites, data or randomness.
    """
    plugins.discover()
    left, right = _loaded(a), _loaded(b)
    check_pairable(left, right)
    return _frame(plugins.suite.configure(left.suite).plugin.compare(left, right))


def leaderboard(records: RunRecord | Iterable[RunRecord] | Path | str, suite: str | None = None) -> pd.DataFrame:
    """Ranked records: what ``harness leaderboard`` prints, unrounded and board after board in one frame.

    A row per record: suite, version, status, coverage, seed, rank_best and rank_worst (the ranks within the board that
    the test images support, NaN where unknown), rank (where these are one, else NaN), model, method, then each metric
    of the board with the ends of its interval (``mean_accuracy``, ``mean_accuracy low``, ``mean_accuracy high``, in
    the metric's unit: see `RunRecord.frame`), denoiser_calls (per image) and key.
    records: of any suites, or the folder in which they lie. suite: only this one.
    Raises HarnessError where there are no such records.
    """
    plugins.discover()
    if isinstance(records, str | Path):
        from harness.terminal import console

        if not Path(records).is_dir():
            raise HarnessError(f"No results folder at {Path(records).absolute()}. Evaluate something first.")
        entries = boards.find(Path(records), console.leave_out)
    else:
        entries = [records] if isinstance(records, RunRecord) else list(records)
    shown = [entry for entry in entries if is_of(entry, suite)]
    if not shown:
        raise HarnessError(f"No records{f' of suite {suite!r}' if suite else ''} among {len(entries)}.")
    tables = [_frame(ranking(group)) for group in boards.boards(shown).values()]
    return tables[0] if len(tables) == 1 else pd.concat(tables, ignore_index=True)


def _loaded(entry: RunRecord | Path | str) -> RunRecord:
    if not isinstance(entry, RunRecord | Path | str):
        raise HarnessError(f"A {type(entry).__name__} is no record: give one that evaluate returned, or a path.")
    return entry if isinstance(entry, RunRecord) else record.load(Path(entry))


def _frame(table: Table) -> pd.DataFrame:
    """A table's numbers; its texts where it has no numbers, as that of an older suite."""
    frame = pd.DataFrame(list(table.data)) if table.data else pd.DataFrame(list(table.rows), columns=list(table.header))
    frame.attrs = {"title": table.title, "caption": table.caption}
    return frame
