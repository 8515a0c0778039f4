"""What to show of a board, as a table to read or as rows of unrounded numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from harness.evaluation.records.frames import metric_rows
from harness.evaluation.records.record import RunRecord
from harness.report import leaderboard
from harness.report.filters import CALLS, columns
from harness.report.ranks.board_ranks import board_ranks
from harness.report.table import Table


@dataclass(frozen=True)
class View:
    """Rows and columns of one board.

    board: all of its records, ranked: ranks are of the whole board. places: of the rows to show.
    metric: the one to show under every condition; None for the board's columns.
    patterns: of the columns to show, see `filters.columns`; none for all.
    seeds: one row for trainings that differ only in their seed, among the rows to show.
    """

    board: Sequence[RunRecord]
    places: Sequence[int]
    metric: str | None = None
    patterns: Sequence[str] = ()
    seeds: bool = False

    def is_empty(self) -> bool:
        """True where no row or no column is left."""
        if CALLS in self.patterns and not self.metric:
            return not self.places
        return not any(self.board[place].metric(*column) for place in self.places for column in self.shown())

    def table(self) -> Table:
        """The table to read: numbers rounded, fractions in percent."""
        if self.metric:
            return leaderboard.by_condition(self.board, self.metric, self.places, self.patterns)
        if self.seeds:
            from harness.report.ranks import seeds  # with statsmodels, which leaderboards do without

            return seeds.ranking([self.board[place] for place in self.places])
        return leaderboard.ranking(self.board, self.places, self.patterns)

    def shown(self) -> list[tuple[str, str]]:
        """The (metric, condition) pairs of the table."""
        if self.metric:
            return columns(self.board, self.patterns or [f"{self.metric}@*"])
        return columns(self.board, self.patterns) if self.patterns else list(self.board[0].columns)

    def rows(self) -> list[dict[str, Any]]:
        """A row per metric, unrounded: all metrics of the records, or the chosen ones.

        rank_best and rank_worst, the rank set, are in the rows of the metric that ranks the board, else None.
        """
        ranks = board_ranks(self.board)
        chosen = set(self.shown()) if self.metric or self.patterns else None
        rows = []
        for place in self.places:
            best, worst = ranks.set_of(place) or (None, None)
            for row in metric_rows(self.board[place]):
                column = row["metric"], row["condition"]
                ends = (best, worst) if column == tuple(ranks.column) else (None, None)
                if chosen is None or column in chosen:
                    key = row.pop("key")
                    rows.append({**row, "rank_best": ends[0], "rank_worst": ends[1], "key": key})
        return rows
