"""A table as data, and its text in GitHub markdown."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from harness.report import escape

RANK = "rank"
"""Heading of the column with rank sets."""


@dataclass(frozen=True)
class Table:
    """A titled table of texts. The command line prints it, `markdown` writes it to a file; both escape every text.

    header: (K,) names of the columns. rows: K cells each.
    caption: sentences below the table.
    multiline: cells have several lines on purpose; otherwise a line break is one more character to escape.
    data: the rows as unrounded numbers, by column of a data frame; empty for a table that is only text.
    names: number of first columns that name a row, and are repeated where a table is shown in blocks.
    top: places of the rows that tie with the best.
    spare: places of the columns that a narrow terminal leaves out first.
    """

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str = ""
    multiline: bool = False
    data: Sequence[Mapping[str, Any]] = ()
    names: int = 1
    top: Sequence[int] = ()
    spare: Sequence[int] = ()


def share(tables: Sequence[Table]) -> tuple[list[Table], str]:
    """The tables without the sentences that all of their captions have, and these sentences; for two tables or more."""
    captions = [re.split(r"(?<=\.) (?=[A-Z0-9])", table.caption) for table in tables]
    shared = [sentence for sentence in captions[0] if all(sentence in other for other in captions)] if captions else []
    if len(tables) < 2 or not any(shared):
        return list(tables), ""
    own = [" ".join(sentence for sentence in caption if sentence not in shared) for caption in captions]
    return [replace(table, caption=text) for table, text in zip(tables, own, strict=True)], " ".join(shared)


LONGEST = 200
"""Characters of a cell in tables to read: no name needs more, and TeX can measure a line of these."""
LONGEST_CAPTION = 2500
"""Characters of a caption there."""


def cut(text: str, most: int = LONGEST) -> str:
    """The text, with "..." for what is beyond `most` characters."""
    return text if len(text) <= most else f"{text[: most - 3]}..."


def shortened(table: Table) -> Table:
    """The table with texts that fit on a page."""
    header, *rows = ([cut(cell) for cell in row] for row in (table.header, *table.rows))
    return replace(table, title=cut(table.title), header=header, rows=rows, caption=cut(table.caption, LONGEST_CAPTION))


def markdown(table: Table) -> str:
    """A table as GitHub markdown; its cells are shown as text, never as markup."""
    header, *rows = ([escape.markdown(cell) for cell in row] for row in (table.header, *table.rows))
    lines = [f"### {escape.markdown(table.title)}", "", _row(header), "|" + " --- |" * len(header), *map(_row, rows)]
    return "\n".join([*lines, "", *([escape.markdown(table.caption, paragraph=True), ""] if table.caption else [])])


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
