"""A classifier against its partner: the one that differs by DiffAug alone."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
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


Line = tuple[str, str, Mapping[str, Any]]
"""Suite, method, and the numbers of a difference."""


def partner_sections(name: str, others: Sequence[str], boards: Sequence[OwnRows]) -> list[Section]:
    """Paired differences of a classifier to each partner, on every leaderboard that has both under one method.

    others: the partners. p-values are adjusted for the tests of all sections together.
    """
    found = {partner: _lines(partner, boards) for partner in others}
    adjusted = iter(holm([row["p"] for lines, _ in found.values() for _, _, row in lines]))
    tests = sum(len(lines) for lines, _ in found.values())
    sections = []
    for partner, (lines, notes) in found.items():
        id, title = slug("against", partner), f"Against {partner}"
        table = _table(f"{id}-table", title, name, lines, list(islice(adjusted, len(lines))), tests)
        if lines or notes:
            sections.append(Section(id, title, "", [table] if lines else [], notes=notes))
    return sections


def _lines(partner: str, boards: Sequence[OwnRows]) -> tuple[list[Line], list[str]]:
    """The differences to a partner, and sentences on those that cannot be computed."""
    lines: list[Line] = []
    notes: list[str] = []
    for own in boards:
        for method, other, entry in _pairs(own, partner):
            try:
                lines += [(benchmark(entry.suite), method, row) for row in _differences(other, entry)]
            except HarnessError as reason:
                notes.append(f"{benchmark(entry.suite)}, {method}: {reason}")
    return lines, notes


def _table(id: str, title: str, name: str, lines: Sequence[Line], adjusted: Sequence[float], tests: int) -> BoardTable:
    rows = []
    for (suite, method, row), p in zip(lines, adjusted, strict=True):
        difference = Cell(spell_difference(row, 2), row["difference"], (row["low"], row["high"]))
        rows.append(BoardRow([*map(Cell, (suite, method, _condition(row))), difference, Cell(spell_p(p), float(p))]))
    header = ["suite", "method", "over", "difference (points)", "p"]
    caption = (
        f"Positive: {name} is better. Same images on both sides; each interval is 95 % on its own, p adjusted for the "
        f"{tests} tests against partners on this page (Holm). Both are single trainings: what another seed would give "
        "is in no interval here."
    )
    return BoardTable(id, title, header, rows, caption, names=3)


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
