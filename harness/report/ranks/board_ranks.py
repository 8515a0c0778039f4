"""Ranks of a board's rows, as sets that the data support: from sample tables, all rows of the board together."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass
from itertools import chain, pairwise
from typing import Any, cast

from harness.base.errors import HarnessError
from harness.evaluation.records import keys
from harness.evaluation.records.record import RunRecord
from harness.report.names import label
from harness.report.ranks import suites, tables

SEEDS = "Rank sets are over test images; another training seed may move a row further."
"""The sentence beside every table and chart with ranks."""

NAMED = 3
"""Rows without a set that are named with their reason."""

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
    sets: (best, worst) rank of each row, from 1, in the order of the board's records, None for a row without a set;
        empty without rank sets.
    better: pairs (i, j) of rows, by their place, of which i is significantly better than j.
    reason: why there are no rank sets, or why some rows have none, in words; empty where all have one.
    total: rows with a set on the whole board, where `sets` has some of its rows; None for all.
    """

    column: tuple[str, str]
    sets: Sequence[tuple[int, int] | None] = ()
    better: Set[tuple[int, int]] = frozenset()
    reason: str = ""
    total: int | None = None

    @property
    def lowest(self) -> int:
        """The lowest rank on the whole board: its number of rows with a set."""
        return len(self.ranked) if self.total is None else self.total

    @property
    def undecided(self) -> bool:
        """True where each row may have every rank of the board."""
        return bool(self.ranked) and all(ends in (None, (1, self.lowest)) for ends in self.sets)

    def set_of(self, row: int) -> tuple[int, int] | None:
        """A row's set; None for a row without one, and without rank sets."""
        return self.sets[row] if self.sets else None

    @property
    def ranked(self) -> Sequence[int]:
        """The places of the rows with a set."""
        return [row for row, ends in enumerate(self.sets) if ends]

    def spell(self, row: int) -> str:
        """A row's set as tables print it: ``1-6``, or ``3`` where it has one rank; empty without a set."""
        ends = self.set_of(row)
        if not ends:
            return ""
        best, worst = ends
        return str(best) if best == worst else f"{best}-{worst}"

    def cell(self, row: int) -> str:
        """A row's set with the mark of the rows that may be the best: ``1-6 ●``."""
        return f"{self.spell(row)} {TOP}" if self.is_top(row) else self.spell(row)

    def numbers(self, row: int) -> dict[str, float]:
        """A row's set for data frames: its ends, NaN without a set, and `rank`, NaN unless the set is one rank."""
        best, worst = self.set_of(row) or (math.nan, math.nan)
        return {"rank": best if best == worst else math.nan, "rank_best": best, "rank_worst": worst}

    def is_top(self, row: int) -> bool:
        """True for a row that may be the best: no other is significantly better."""
        ends = self.set_of(row)
        return ends is not None and ends[0] == 1

    @property
    def separable_neighbours(self) -> int:
        """Rows that are significantly better than the next one with a set."""
        return sum(pair in self.better for pair in pairwise(self.ranked))

    @property
    def without(self) -> str:
        """A sentence on the rows that have no set, or on the whole board; empty where all rows have one."""
        if not self.reason:
            return ""
        count = len(self.sets) - len(self.ranked)
        return (
            f"{count} of {len(self.sets)} rows have no rank: {self.reason}." if count else f"No ranks: {self.reason}."
        )

    @property
    def caption(self) -> str:
        """Sentences for the caption of a table with these ranks, or with none; empty for a board of one row."""
        if not self.sets:
            return self.without
        neighbours = f"{self.separable_neighbours} of {len(self.ranked) - 1} neighbours can be told apart"
        sentences = (
            "First column: the ranks that the test images support, all rows together at 95 %; "
            f"{TOP} marks rows that may be the best. {neighbours}. {SEEDS}"
        )
        return f"{sentences} {self.without}".rstrip()


def board_ranks(board: Sequence[RunRecord], column: tuple[str, str] | None = None) -> Ranks:
    """Rank sets of a whole board, before any filter. column: (metric, condition); by default the one that ranks.

    The result is remembered with the hashes of the sample tables and of the code: a later call reads no sample table,
    and imports no suite. A row without its sample table, or on other images than most rows, has no set, and the others
    are ranked among themselves. Without any rank sets, `Ranks.reason` says why: fewer than two such rows, a metric that
    is no sum of means over images, a suite whose plugin is not loaded.
    """
    column = column or board[0].columns[0]
    if len(board) < 2:
        return Ranks(column)
    faults = tables.faults(board)
    hashes = [entry.samples["sha256"] for entry in board]
    suite = keys.benchmark(board[0].suite)
    inputs = [suite, *column, *(entry.key for entry in board), *hashes, *faults]
    try:
        answer = suites.remembered(suite, inputs, lambda: _computed(board, column, faults))
    except HarnessError as error:
        return Ranks(column, reason=str(error).removesuffix("."))
    unranked = {int(row): reason for row, reason in answer["unranked"].items()}
    reason = answer["reason"] or _listed(list(unranked.values()))
    if answer["reason"] or len(board) - len(unranked) < 2:
        return Ranks(column, reason=reason)
    above = Counter(chain.from_iterable(answer["better"]))
    last = len(board) - len(unranked)
    ends = [None if k in unranked else (1 + above[k], last - len(worse)) for k, worse in enumerate(answer["better"])]
    return Ranks(column, ends, Pairs(answer["better"]), reason)


def _listed(reasons: Sequence[str]) -> str:
    left = len(reasons) - NAMED
    return "; ".join([*reasons[:NAMED], *([f"and so on for {left} more"] if left > 0 else [])])


def _computed(board: Sequence[RunRecord], column: tuple[str, str], faults: Sequence[str]) -> suites.BoardAnswer:
    """For each row the places of the rows that it is significantly better than; or the reason why that is unknown.

    faults: of the rows' sample tables. Raises HarnessError for what may be otherwise another time: a plugin that is
    not loaded.
    """
    from harness.metrics import ranking  # with scipy, which leaderboards do without
    from harness.metrics.intervals import Undefined

    plugin = suites.loaded(board[0])
    first = next((metric for entry in board if (metric := entry.metric(*column))), None)
    if first is None:
        return {"better": [], "unranked": {}, "reason": f"no row has {' '.join(column)}"}
    unranked = {str(k): tables.sentence(board[k], fault) for k, fault in enumerate(faults) if fault}
    rows: dict[int, Sequence[Any]] = {}
    for k, entry in enumerate(board):
        if faults[k]:
            continue
        try:
            values = entry.rows()
        except HarnessError:  # whose message has a path of this machine
            unranked[str(k)] = tables.sentence(entry, tables.DAMAGED)
            continue
        try:
            rows[k] = plugin.contributions(values, *column)
        except Undefined as reason:
            return {"better": [], "unranked": {}, "reason": str(reason).removesuffix(".")}
    better: list[list[int]] = [[] for _ in board]
    if rows:
        kept, samples = ranking.stacked(list(rows.values()))
        places = [list(rows)[k] for k in kept]
        others = sorted(rows.keys() - set(places))
        unranked |= {str(k): f"{label(board[k])} is on other images than {len(places)} other rows" for k in others}
        separated = ranking.separable(samples, first.higher_is_better)
        for k, row in zip(places, separated, strict=True):
            better[k] = [places[worse] for worse in row.nonzero()[0].tolist()]
    return {"better": better, "unranked": unranked, "reason": ""}
