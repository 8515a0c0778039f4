"""Boards in one of the formats that are text."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from harness.base.errors import HarnessError
from harness.report.formats import csv_text, html, json_text, latex, macros
from harness.report.formats.view import View
from harness.report.table import Table, markdown, shortened

OF_TABLES: Mapping[str, Callable[[Table], str]] = {"markdown": markdown, "latex": latex.text, "html": html.text}
"""Formats to read: one table after the other, numbers rounded."""

FORMATS = ("table", "markdown", "csv", "json", "latex", "html")
"""Formats that every table has."""

SUFFIXES = {".md": "markdown", ".csv": "csv", ".json": "json", ".tex": "latex", ".html": "html", ".txt": "table"}
"""Formats by the suffix of a file."""


def render(format: str, views: Sequence[View], more: Sequence[Table] = ()) -> str:
    """The boards as text. more: tables of other origin.

    format: markdown, latex or html, one table after the other; csv or json, a row per metric and unrounded, the other
        tables as `numbers` has them; macros, a LaTeX macro per number of boards.
    """
    if format in OF_TABLES:
        return render_tables(format, [*(view.table() for view in views), *more])
    if format == "macros":
        if more or any(view.seeds for view in views):
            option = "--published" if more else "--seeds"
            raise HarnessError(f"{option} has no macros: --format must be {', '.join(FORMATS)}.")
        return macros.text(views)
    rows = [row for view in views for row in (numbers(view.table()) if view.seeds else view.rows())]
    return _of_rows(format, [*rows, *(row for table in more for row in numbers(table))])


def render_tables(format: str, tables: Sequence[Table]) -> str:
    """Tables as text: one after the other, or their `numbers`; HarnessError for macros, which boards alone have."""
    if format in OF_TABLES:
        return "\n".join(map(OF_TABLES[format], map(shortened, tables)))
    if format == "macros":
        raise HarnessError(f"Only leaderboards have macros: --format must be one of {', '.join(FORMATS)}.")
    return _of_rows(format, [row for table in tables for row in numbers(table)])


def numbers(table: Table) -> list[dict[str, Any]]:
    """The unrounded rows of a table after its title; of one that is only text, a row per cell.

    Numbers that are not finite, which JSON lacks, are None; cells that are numbers are floats.
    """
    if table.data:
        return [{"table": table.title, **{name: _finite(value) for name, value in row.items()}} for row in table.data]
    return [
        {"table": table.title, "row": ", ".join(row[: table.names]), "column": column, "value": _number(cell)}
        for row in table.rows
        for column, cell in zip(table.header[table.names :], row[table.names :], strict=True)
    ]


def _finite(value: Any) -> Any:
    value = value.item() if hasattr(value, "item") else value  # of NumPy
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _number(cell: str) -> float | str | None:
    try:
        return _finite(float(cell)) if cell else None
    except ValueError:
        return cell


def _of_rows(format: str, rows: Sequence[Mapping[str, Any]]) -> str:
    return csv_text.text(rows) if format == "csv" else json_text.text(rows)
