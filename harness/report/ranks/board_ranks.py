"""Ranks of a board's rows, as sets that the data support: from sample tables, all rows of the board together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness.evaluation.records.record import RunRecord

SEEDS = "Rank sets are over test images; another training seed may move a row further."
"""The sentence beside every table and chart with ranks."""


@dataclass(frozen=True)
class Ranks:
    """Rank sets of the rows of a board by one metric: jointly, each row's true rank lies in its set at 95 %.

    column: the (metric, condition) that ranks.
    sets: (best, worst) rank of each row, from 1, in the order of the board's records; empty without rank sets.
    better: pairs (i, j) of rows, by their place, of which i is significantly better than j.
    reason: why there are no rank sets, in words; empty where there are.
    """

    column: tuple[str, str]
    sets: Sequence[tuple[int, int]] = ()
    better: frozenset[tuple[int, int]] = frozenset()
    reason: str = ""

    def spell(self, row: int) -> str:
        """A row's set as tables print it: ``1-6``, or ``3`` where it has one rank; empty without rank sets."""
        if not self.sets:
            return ""
        best, worst = self.sets[row]
        return str(best) if best == worst else f"{best}-{worst}"

    def is_top(self, row: int) -> bool:
        """True for a row that may be the best: no other is significantly better."""
        return bool(self.sets) and self.sets[row][0] == 1


def board_ranks(board: Sequence[RunRecord], column: tuple[str, str] | None = None) -> Ranks:
    """Rank sets of a whole board, before any filter. column: (metric, condition); by default the one that ranks."""
    return Ranks(column or board[0].columns[0], reason="rank sets are not computed")
