"""Filters of a board's rows and columns, as texts of the command line; a filter never changes a rank set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from harness.evaluation.records.record import RunRecord
from harness.plugins.settings import bare


@dataclass(frozen=True)
class RowFilter:
    """Rows to show.

    models, methods: shell patterns such as ``digits/vit*``, matched with names with and without their settings; none
        for all. where: conditions on metrics such as ``mean_accuracy>0.8``.
    """

    models: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()
    where: tuple[str, ...] = ()

    def places(self, board: Sequence[RunRecord]) -> list[int]:
        """Places in the board of the rows to show, in its order."""
        return [
            place
            for place, entry in enumerate(board)
            if _matches(entry.model.name, self.models) and _matches(entry.method, self.methods)
        ]


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return not patterns or any(fnmatchcase(text, pattern) for pattern in patterns for text in (name, bare(name)))
