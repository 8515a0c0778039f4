"""A table as data, and its text in GitHub markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.report import escape


@dataclass(frozen=True)
class Table:
    """A titled table of texts. The command line prints it, `markdown` writes it to a file; both escape every text.

    header: (K,) names of the columns. rows: K cells each.
    caption: sentences below the table.
    multiline: cells have several lines on purpose; otherwise a line break is one more character to escape.
    data: the rows as unrounded numbers, by column of a data frame; empty for a table that is only text.
    names: number of first columns that name a row, and are repeated where a table is shown in blocks.
    top: places of the rows that tie with the best.
    """

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str = ""
    multiline: bool = False
    data: Sequence[Mapping[str, Any]] = ()
    names: int = 1
    top: Sequence[int] = ()


def markdown(table: Table) -> str:
    """A table as GitHub markdown; its cells are shown as text, never as markup."""
    header, *rows = ([escape.markdown(cell) for cell in row] for row in (table.header, *table.rows))
    lines = [f"### {escape.markdown(table.title)}", "", _row(header), "|" + " --- |" * len(header), *map(_row, rows)]
    return "\n".join([*lines, "", *([escape.markdown(table.caption, paragraph=True), ""] if table.caption else [])])


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
