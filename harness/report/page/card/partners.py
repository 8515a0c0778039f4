"""A classifier against its partner: the one that differs by DiffAug alone."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from harness import plugins
from harness.base.errors import HarnessError
from harness.evaluation.records.keys import benchmark
from harness.evaluation.records.record import RunRecord
from harness.metrics.paired import holm
from harness.report.comparison import spell_difference, spell_p
from harness.report.page.card.results import OwnRows
from harness.report.page.parts import BoardRow, BoardTable, Cell, Section, slug

TRAINED = "+diffaug"
"""End of the names of classifiers that were trained with DiffAug, too."""

MEANS = ("mean", "near", "far", "all")
"""Rows of a suite's comparison that stand for all its conditions."""


def partners(name: str, names: Sequence[str]) -> list[str]:
    """The classifiers among these that are called the same but for `TRAINED`."""
    bare = re.sub(rf"{re.escape(TRAINED)}(?=$|\+)", "", name)
    return sorted({other for other in names if other != name and other in (bare, f"{bare}{TRAINED}")})


def partner_section(name: str, partner: str, boards: Sequence[OwnRows]) -> Section | None:
    """Paired differences of a classifier to its partner, on every leaderboard that has both under one method."""
    lines: list[tuple[str, str, Mapping[str, Any]]] = []
    notes: list[str] = []
    for own in boards:
        for method, other, entry in _pairs(own, partner):
            try:
                lines += [(benchmark(entry.suite), method, row) for row in _differences(other, entry)]
            except HarnessError as reason:
                notes.append(f"{benchmark(entry.suite)}, {method}: {reason}")
    if not lines and not notes:
        return None
    adjusted = holm([row["p"] for _, _, row in lines])
    rows = []
    for (suite, method, row), p in zip(lines, adjusted, strict=True):
        difference = Cell(spell_difference(row, 2), row["difference"], (row["low"], row["high"]))
        rows.append(BoardRow([*map(Cell, (suite, method, _condition(row))), difference, Cell(spell_p(p), float(p))]))
    header = ["suite", "method", "over", "difference (points)", "p"]
    caption = (
        f"Positive: {name} is better. Same images on both sides; each interval is 95 % on its own, p adjusted for the "
        f"{len(rows)} tests of this table (Holm). Both are single trainings: what another seed would give is in no "
        "interval here."
    )
    id = slug("against", partner)
    table = BoardTable(f"{id}-table", f"Against {partner}", header, rows, caption, names=3)
    return Section(id, f"Against {partner}", "", [table] if rows else [], notes=notes)


def _pairs(own: OwnRows, partner: str) -> Iterator[tuple[str, RunRecord, RunRecord]]:
    """Method, the partner's record and the classifier's, for each method that both have."""
    others = {entry.variant: entry for entry in own.board if entry.model.name == partner}
    for method, entry in zip(own.methods, own.entries, strict=True):
        if entry.variant in others:
            yield method, others[entry.variant], entry


def _differences(a: RunRecord, b: RunRecord) -> list[Mapping[str, Any]]:
    """The rows of the suite's comparison that stand for all conditions; the only one where it has one."""
    if b.suite.partition(":")[0] not in plugins.suite:
        plugins.discover()
    data = plugins.suite.configure(b.suite).plugin.compare(a, b).data
    rows = [row for row in data if _condition(row) in MEANS]
    return rows or ([data[0]] if len(data) == 1 else [])


def _condition(row: Mapping[str, Any]) -> str:
    return str(next(iter(row.values())))
