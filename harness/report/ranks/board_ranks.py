"""Ranks of a board's rows, as sets that the data support: from sample tables, all rows of the board together."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from itertools import chain
from typing import Any, cast

from harness.base.errors import HarnessError
from harness.evaluation.records import record
from harness.evaluation.records.record import RunRecord
from harness.report.names import label
from harness.report.ranks import suites

SEEDS = "Rank sets are over test images; another training seed may move a row further."
"""The sentence beside every table and chart with ranks."""

TOP = "●"
"""Mark of the rows that no other is significantly better than."""


@dataclass(frozen=True, eq=False)
class Pairs(Set[tuple[int, int]]):
    """Pairs of rows, kept by their first one: those of a thousand rows are a million.

    rows: by first row, the second ones of its pairs, rising.
    """

    rows: Sequence[Sequence[int]] = ()

    def __contains__(self, pair: object) -> bool:
        first, second = cast(tuple[int, int], pair)
        worse = self.rows[first] if first < len(self.rows) else ()
        place = bisect_left(worse, second)
        return place < len(worse) and worse[place] == second

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return ((first, second) for first, worse in enumerate(self.rows) for second in worse)

    def __len__(self) -> int:
        return sum(map(len, self.rows))


@dataclass(frozen=True)
class Ranks:
    """Rank sets of the rows of a board by one metric: jointly, each row's true rank lies in its set at 95 %.

    column: the (metric, condition) that ranks.
    sets: (best, worst) rank of each row, from 1, in the order of the board's records; empty without rank sets.
    better: pairs (i, j) of rows, by their place, of which i is significantly better than j.
    reason: why there are no rank sets, in words; empty where there are.
    total: rows of the whole board, where `sets` has some of its rows; None for all.
    """

    column: tuple[str, str]
    sets: Sequence[tuple[int, int]] = ()
    better: Set[tuple[int, int]] = frozenset()
    reason: str = ""
    total: int | None = None

    @property
    def lowest(self) -> int:
        """The lowest rank on the whole board: its number of rows."""
        return len(self.sets) if self.total is None else self.total

    @property
    def undecided(self) -> bool:
        """True where each row may have every rank of the board."""
        return bool(self.sets) and all(ends == (1, self.lowest) for ends in self.sets)

    def spell(self, row: int) -> str:
        """A row's set as tables print it: ``1-6``, or ``3`` where it has one rank; empty without rank sets."""
        if not self.sets:
            return ""
        best, worst = self.sets[row]
        return str(best) if best == worst else f"{best}-{worst}"

    def cell(self, row: int) -> str:
        """A row's set with the mark of the rows that may be the best: ``1-6 ●``."""
        return f"{self.spell(row)} {TOP}" if self.is_top(row) else self.spell(row)

    def numbers(self, row: int) -> dict[str, float]:
        """A row's set for data frames: its ends, NaN without rank sets, and `rank`, NaN unless the set is one rank."""
        if not self.sets:
            return {"rank": math.nan, "rank_best": math.nan, "rank_worst": math.nan}
        best, worst = self.sets[row]
        return {"rank": best if best == worst else math.nan, "rank_best": best, "rank_worst": worst}

    def is_top(self, row: int) -> bool:
        """True for a row that may be the best: no other is significantly better."""
        return bool(self.sets) and self.sets[row][0] == 1

    @property
    def separable_neighbours(self) -> int:
        """Rows that are significantly better than the next one."""
        return sum((row, row + 1) in self.better for row in range(len(self.sets)))

    @property
    def caption(self) -> str:
        """Sentences for the caption of a table with these ranks, or with none; empty for a board of one row."""
        if not self.sets:
            return f"No ranks: {self.reason}." if self.reason else ""
        neighbours = f"{self.separable_neighbours} of {len(self.sets) - 1} neighbours can be told apart"
        return (
            "First column: the ranks that the test images support, all rows together at 95 %; "
            f"{TOP} marks rows that may be the best. {neighbours}. {SEEDS}"
        )


def board_ranks(board: Sequence[RunRecord], column: tuple[str, str] | None = None) -> Ranks:
    """Rank sets of a whole board, before any filter. column: (metric, condition); by default the one that ranks.

    The result is remembered with the hashes of the sample tables and of the code: a later call reads no sample table,
    and imports no suite. Without rank sets, `Ranks.reason` says why: a sample table that is missing or damaged, rows on
    different images, a metric that is no sum of means over images, a suite whose plugin is not loaded.
    """
    column = column or board[0].columns[0]
    if len(board) < 2:
        return Ranks(column)
    for entry in board:
        if not entry.path or not entry.path.with_name(entry.samples["file"]).is_file():
            return Ranks(column, reason=f"the sample table of {label(entry)} is not beside its record")
    tables = [entry.samples["sha256"] for entry in board]
    suite = record.benchmark(board[0].suite)
    try:
        answer = suites.remembered(suite, [suite, *column, *tables], lambda: _computed(board, column))
    except HarnessError as error:
        return Ranks(column, reason=str(error).removesuffix("."))
    if answer["reason"]:
        return Ranks(column, reason=answer["reason"])
    above = Counter(chain.from_iterable(answer["better"]))
    sets = [(1 + above[row], len(board) - len(worse)) for row, worse in enumerate(answer["better"])]
    return Ranks(column, sets, Pairs(answer["better"]))


def _computed(board: Sequence[RunRecord], column: tuple[str, str]) -> suites.BoardAnswer:
    """For each row the places of the rows that it is significantly better than; or the reason why that is unknown.

    Raises HarnessError for what may be otherwise another time: a damaged file, a plugin that is not loaded.
    """
    from harness.metrics import ranking  # with scipy, which leaderboards do without
    from harness.metrics.intervals import Undefined

    plugin = suites.loaded(board[0])
    first = next((metric for entry in board if (metric := entry.metric(*column))), None)
    if first is None:
        return {"better": [], "reason": f"no row has {' '.join(column)}"}
    try:
        samples = ranking.stacked([plugin.contributions(_rows(entry), *column) for entry in board])
    except Undefined as reason:
        return {"better": [], "reason": str(reason).removesuffix(".")}
    better = ranking.separable(samples, first.higher_is_better)
    return {"better": [row.nonzero()[0].tolist() for row in better], "reason": ""}


def _rows(entry: RunRecord) -> Mapping[str, Any]:
    try:
        return entry.rows()
    except HarnessError as error:  # whose message has a path of this machine
        raise HarnessError(f"the sample table of {label(entry)} is damaged, or another record's") from error
