"""Tables of numbers as lines of a limited width: columns without room follow in a second block of the same rows."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from rich.cells import cell_len, chop_cells

from harness.report.table import Table

GAP = 2
"""Blanks between two columns of a table."""

MOST_BLOCKS = 3
"""Blocks of one table at most; where intervals would take more, they are left out."""

NARROWEST = 8
"""Characters that a column of names keeps in the narrowest terminal."""

WIDEST = 2000
"""Characters of a line that a table may ask for."""

INTERVAL = re.compile(r" \[[-+.\d]+, [-+.\d]+\](?=$| \S$)")
"""The interval at the end of a cell, where a mark may follow."""
NUMBER = re.compile(r"[-+]?[\d.]*%?")
"""A cell with a number, or with nothing."""
PIECES = re.compile(r"[^\s_/+,]*[\s_/+,]*")
"""Parts of a name or heading that a line may end after."""


@dataclass(frozen=True)
class Layout:
    """A table in blocks.

    blocks: for each, the columns of the table that it shows after those with names. widths: of all columns.
    note: what was left out, in a sentence.
    """

    table: Table
    widths: Sequence[int]
    blocks: Sequence[Sequence[int]]
    note: str = ""


def is_of_numbers(table: Table) -> bool:
    """True for a table with intervals, or with nothing but numbers beside the names of its rows."""
    cells = [cell for row in table.rows for cell in row[table.names :]]
    return any(map(INTERVAL.search, cells)) or (bool(cells) and all(map(NUMBER.fullmatch, cells)))


def layout(table: Table, room: int) -> Layout:
    """A table laid out in `room` characters: whole if it fits, then without its spare columns, then in blocks.

    Intervals are left out where they would take more than three blocks.
    """
    whole = _layout(table, room)
    if len(whole.blocks) > 1 and table.spare:
        rest = layout(_without(table, table.spare), room)
        names = ", ".join(table.header[k] for k in table.spare)
        note = f"Left out, since the terminal is narrow: {names}; a wider one or --columns shows them."
        return replace(rest, note=" ".join(filter(None, [note, rest.note])))
    if len(whole.blocks) <= MOST_BLOCKS or not any(INTERVAL.search(cell) for row in table.rows for cell in row):
        return whole
    narrow = _layout(replace(table, rows=[[INTERVAL.sub("", cell) for cell in row] for row in table.rows]), room)
    enough = next(k for k in range(room, WIDEST) if k == WIDEST - 1 or len(_layout(table, k).blocks) <= MOST_BLOCKS)
    note = f"Left out, since the terminal is narrow: intervals; a width of {enough} columns shows them."
    return replace(narrow, note=note)


def _without(table: Table, columns: Sequence[int]) -> Table:
    header, *rows = ([cell for k, cell in enumerate(row) if k not in columns] for row in (table.header, *table.rows))
    return replace(table, header=header, rows=rows, spare=())


def _layout(table: Table, room: int) -> Layout:
    """A table in as many blocks as its columns take; names of rows are broken where they leave no room."""
    widths = _widths(table)
    others = range(table.names, len(widths))
    widest = max((widths[k] for k in others), default=0)
    for column in sorted(range(table.names), key=lambda k: -widths[k]):
        excess = sum(widths[: table.names]) + GAP * table.names + widest - room
        widths[column] -= max(0, min(excess, widths[column] - NARROWEST))
    start = sum(widths[: table.names]) + GAP * (table.names - 1)
    blocks: list[list[int]] = [[]]
    used = start
    for column in others:
        if blocks[-1] and used + GAP + widths[column] > room:
            blocks.append([])
            used = start
        blocks[-1].append(column)
        used += GAP + widths[column]
    return Layout(table, widths, blocks)


def _widths(table: Table) -> list[int]:
    """The least width of each column with its cells in one line; headings may break between their parts."""
    columns = zip(table.header, *table.rows, strict=True)
    return [max(map(_length, [*(part.rstrip() for part in PIECES.findall(h)), *cells])) for h, *cells in columns]


@dataclass(frozen=True)
class Block:
    """Lines of a block: its heading, and its rows under a rule of `width` characters."""

    heading: Sequence[str]
    rows: Sequence[str]
    width: int


def lines(shown: Layout) -> list[Block]:
    """The lines of each block."""
    table, widths = shown.table, shown.widths
    made = []
    for block in shown.blocks:
        columns = [*range(table.names), *block]
        width = sum(widths[k] for k in columns) + GAP * (len(columns) - 1)
        rows = [line for row in table.rows for line in _row(row, columns, shown)]
        made.append(Block(_row(table.header, columns, shown, bottom=True), rows, width))
    return made


def _row(cells: Sequence[str], columns: Sequence[int], shown: Layout, bottom: bool = False) -> list[str]:
    """The lines of one row. bottom: cells of fewer lines than others stand at the bottom, as headings do."""
    parts = [wrapped(cells[k], shown.widths[k]) for k in columns]
    height = max(map(len, parts))
    if bottom:
        parts = [[""] * (height - len(part)) + part for part in parts]
    padded = [
        [_aligned(text, shown.widths[k], left=k < shown.table.names) for text in part + [""] * (height - len(part))]
        for k, part in zip(columns, parts, strict=True)
    ]
    return [(" " * GAP).join(line).rstrip() for line in zip(*padded, strict=True)]


def wrapped(text: str, width: int) -> list[str]:
    """A text in lines of `width` characters at most, broken after blanks and the signs within names."""
    if _length(text) <= width:
        return [text]
    rows = [""]
    for piece in PIECES.findall(text):
        if rows[-1] and _length((rows[-1] + piece).rstrip()) > width:
            rows.append("")
        if _length(piece.rstrip()) > width:
            rows[-1:] = chop_cells(piece, width)
        else:
            rows[-1] += piece
    return [row.rstrip() for row in rows if row]


def _aligned(text: str, width: int, left: bool) -> str:
    blanks = " " * (width - _length(text))
    return text + blanks if left else blanks + text


def _length(text: str) -> int:
    return len(text) if text.isascii() else cell_len(text)
