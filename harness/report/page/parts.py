"""Parts of the HTML report: charts, tables, pictures and sections, as data that the templates lay out."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from harness.report.table import Table


@dataclass(frozen=True)
class Chart:
    """A chart of the page.

    id: unique on the page, from `slug`. svg: markup whose every text is escaped; its colours are CSS variables.
    caption: sentences under it: what is shown, intervals, units. data: its numbers, shown under the chart and copied as
        CSV: from `Table.data` where there is some, otherwise from the rows.
    """

    id: str
    title: str
    svg: Markup
    caption: str
    data: Table


@dataclass(frozen=True)
class Cell:
    """A cell of a table.

    text: as it is read. value: as it is sorted; None sorts by the text, and at the end of a column of numbers.
    interval: ends of the value's interval, for the copy as CSV. tip: one more sentence, shown on hover and focus.
    target: id of the part of the page that the cell links to.
    """

    text: str
    value: float | None = None
    interval: tuple[float, float] | None = None
    tip: str = ""
    target: str = ""


@dataclass(frozen=True)
class BoardRow:
    """A row of a table.

    cells: one per column. top: it may be the best of the board. published: printed in a paper, not measured here.
    """

    cells: Sequence[Cell]
    top: bool = False
    published: bool = False


@dataclass(frozen=True)
class BoardTable:
    """A table that can be sorted and filtered.

    id: unique on the page, from `slug`. header: (K,) names of the columns, with units. rows: K cells each.
    caption: sentences below. names: number of first columns that name a row, and stay left-aligned.
    rank_column: place of the column with rank sets, marked in the rows that may be the best; none without ranks.
    """

    id: str
    title: str
    header: Sequence[str]
    rows: Sequence[BoardRow]
    caption: str = ""
    names: int = 1
    rank_column: int | None = None


@dataclass(frozen=True)
class Picture:
    """A picture of the gallery.

    alt: says what it shows. data_uri: ``data:image/webp;base64,...``. width, height: in pixels.
    lines: texts under it.
    """

    alt: str
    data_uri: str
    width: int
    height: int
    lines: Sequence[str] = ()


@dataclass(frozen=True)
class Strip:
    """A row of pictures under one title: one image through its versions."""

    title: str
    pictures: Sequence[Picture]
    lines: Sequence[str] = ()


@dataclass(frozen=True)
class Section:
    """A section of the page: an introduction, then tables, charts, pictures and folded tables, each optional.

    id: unique on the page, from `slug`. notes: sentences on what is missing, such as why a chart is left out.
    folded: tables that open on demand, such as the provenance of rows.
    """

    id: str
    title: str
    intro: str = ""
    tables: Sequence[BoardTable] = ()
    charts: Sequence[Chart] = ()
    images: Sequence[Strip] = ()
    notes: Sequence[str] = ()
    folded: Sequence[BoardTable] = ()


@dataclass(frozen=True)
class Page:
    """A page: the report, or the card of a model; `render.render` makes the HTML.

    lead: paragraphs under the title. facts: (number or short text, its name) pairs of the head.
    sections: by the heading that groups them in the navigation, in order.
    """

    title: str
    lead: Sequence[str]
    facts: Sequence[tuple[str, str]]
    sections: Mapping[str, Sequence[Section]]


def slug(*words: str) -> str:
    """An id for HTML from any words: small letters, digits and dashes; starts with a letter.

    Words that differ only in other characters give one id: `build.page` numbers repeated ids.
    """
    text = re.sub(r"[^a-z0-9]+", "-", " ".join(words).lower()).strip("-")
    return text if text[:1].isalpha() else f"x-{text}"


NUMBER = re.compile(r"[≤<>≥]?\s*([+-]?\d+(?:\.\d+)?(?:e[+-]?\d+)?)(?=$|[\s%\[/±-])")
"""The number at the start of a cell: that of ``94.4 [93.8, 95.1]``."""


def cell(text: str, tip: str = "") -> Cell:
    """A cell that sorts by the number at its start, if it has one."""
    match = NUMBER.match(text)
    return Cell(text, float(match[1]) if match else None, tip=tip)


def board_table(id: str, table: Table, names: int = 1) -> BoardTable:
    """A table of the report's other formats for the page, its cells sorted by the numbers at their starts."""
    rows = [BoardRow([Cell(text) if k < names else cell(text) for k, text in enumerate(row)]) for row in table.rows]
    return BoardTable(id, table.title, table.header, rows, table.caption, names)
