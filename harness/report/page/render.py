"""HTML of a page: one self-contained file that asks nothing of the network."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from harness.report.colours import PALETTE
from harness.report.escape import printable
from harness.report.page.parts import BoardTable, Cell, Chart, Page, Section
from harness.report.table import Table

Part = TypeVar("Part", Section, BoardTable, Chart)

TEMPLATES = Path(__file__).parent / "templates"

FOLDED_CAPTION = 420
"""Characters beyond which the notes below a table are folded."""

LONGEST_TABLE = 45
"""Rows beyond which a table scrolls within the page."""

SIGNIFICANT = 7
"""Digits of numbers in charts' data and in copies as CSV: more than the intervals of any benchmark can tell apart."""


def render(page: Page) -> str:
    """A page as HTML. Every text is escaped, and control characters are spelled out: only `Chart.svg` is markup."""
    page = _distinct(page)
    style, script = Markup(_style()), Markup(_script())
    policy = (
        "default-src 'none'; base-uri 'none'; form-action 'none'; img-src data:; "
        f"style-src '{_source(style)}'; style-src-attr 'unsafe-inline'; script-src '{_source(script)}'"
    )
    text = _environment().get_template("page.html").render(page=page, style=style, script=script, policy=policy)
    return printable(text, keep="\n")  # markup has no such characters; names in drawings and summaries may


COLUMNS = 16
"""Columns of a table that the style sheet knows as texts."""


def _style() -> str:
    """The style sheet, with the colours of classifiers in both themes, and the kinds of columns."""
    text = (TEMPLATES / "page.css").read_text(encoding="utf-8")
    for theme, name in enumerate(("light", "dark")):
        series = " ".join(f"--series-{k}: {pair[theme]};" for k, pair in enumerate(PALETTE, 1))
        text = text.replace(f"/* series: {name} */", series)
    cells = ", ".join(f".t{place} > * > * > :nth-child({place})" for place in range(2, COLUMNS + 1))
    heads = cells.replace("> * > * >", "> thead > * >")
    text = text.replace(".text-head", heads).replace(".text-cell", cells.replace("> * > * >", "> tbody > * >"))
    return text


def _script() -> str:
    """The script, without comments and indentation."""
    text = (TEMPLATES / "page.js").read_text(encoding="utf-8")
    return re.sub(r"^\s+(//.*\n)*|  //.*$", "", text, flags=re.MULTILINE)


def _source(text: str) -> str:
    """The hash by which a content security policy names a style or a script: no other one in the page is obeyed."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_finalize,
    )
    environment.filters |= {
        "sortable": sortable,
        "datasheet": datasheet,
        "columns": columns,
        "is_wide": is_wide,
        "breakable": breakable,
        "column_classes": column_classes,
    }
    environment.globals |= {"folded_caption": FOLDED_CAPTION, "longest_table": LONGEST_TABLE}
    return environment


def _finalize(value: Any) -> Any:
    """Texts without characters that steer: an override of the writing direction could disguise a name."""
    return printable(value, keep="\n") if type(value) is str else value


def sortable(cell: Cell) -> str:
    """The numbers of a cell, for sorting and CSV: ``0.944 0.935 0.951``; empty for a text, and where it is the text."""
    if cell.value is None:
        return ""
    numbers = " ".join(f"{number:.{SIGNIFICANT}g}" for number in (cell.value, *(cell.interval or ())))
    return "" if numbers == cell.text else numbers


def datasheet(table: Table) -> tuple[Sequence[str], list[list[str]]]:
    """Header and rows of a chart's data: the unrounded numbers where the table has them, otherwise its texts."""
    if not table.data:
        return table.header, [list(row) for row in table.rows]
    header = list(dict.fromkeys(name for row in table.data for name in row))
    return header, [[_spell(row, name) for name in header] for row in table.data]


def _spell(row: Mapping[str, Any], name: str) -> str:
    value = row.get(name, "")
    return f"{value:.{SIGNIFICANT}g}" if isinstance(value, float | np.floating) else str(value)


def column_classes(table: BoardTable) -> str:
    """Classes of a table by the kind of its columns: ``t2`` for a second one of texts, ``r3`` for a third one of ranks.

    One word for a column is shorter than one for each of its cells. Texts are names, and columns without a number.
    """
    numeric = {place for row in table.rows for place, cell in enumerate(row.cells) if cell.value is not None}
    texts = set(range(table.names)) | set(range(len(table.header))) - numeric - {table.rank_column}
    words = [f"t{place + 1}" for place in sorted(texts) if place < COLUMNS]
    return " ".join([*words, *([f"r{table.rank_column + 1}"] if table.rank_column is not None else [])])


def breakable(text: str) -> Markup:
    """A name that breaks at its joints where a column is narrow: after ``/``, ``+``, ``:``, ``,``, ``=`` and ``_``."""
    return Markup("<wbr>").join(re.split(r"(?<=[/+:,=_])(?=.)", printable(text)))


PANELS = 3
"""Drawings from which on a chart takes the width of the page, where they stand side by side."""


def is_wide(chart: Chart) -> bool:
    """True for a chart of several panels."""
    return chart.svg.count('role="img"') >= PANELS


def columns(charts: Sequence[Chart]) -> list[list[Chart]]:
    """Charts of fewer than `PANELS` in two columns of about one height, each in its order; no column is empty."""
    sides: list[list[Chart]] = [[], []]
    heights = [0.0, 0.0]
    for chart in charts:
        if is_wide(chart):
            continue
        side = heights.index(min(heights))
        sides[side].append(chart)
        heights[side] += _height(chart)
    return [side for side in sides if side]


def _height(chart: Chart) -> float:
    """Height of a chart with title and caption, as a share of its width."""
    boxes = re.findall(r'viewBox="0 [\d.]+ ([\d.]+) ([\d.]+)"', chart.svg)
    return 0.3 + sum(float(height) / max(float(width), 1.0) for width, height in boxes)


def _distinct(page: Page) -> Page:
    """The page with a number after each repeated id: names of a record may differ in signs that no id can have."""
    counts: dict[str, int] = {}

    def renamed(part: Part) -> Part:
        counts[part.id] = number = counts.get(part.id, 0) + 1
        # Letters before the number, which no builder writes: the new id is not that of another part.
        return part if number == 1 else replace(part, id=f"{part.id}--no{number}")

    sections = {group: [renamed(section) for section in sections] for group, sections in page.sections.items()}
    for members in sections.values():
        for place, section in enumerate(members):
            members[place] = replace(
                section,
                tables=[renamed(table) for table in section.tables],
                charts=[renamed(chart) for chart in section.charts],
                folded=[renamed(table) for table in section.folded],
            )
    return replace(page, sections=sections)
