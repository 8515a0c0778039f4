"""Boards in one of the formats that are text."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from harness.base.errors import HarnessError
from harness.report.formats import csv_text, html, json_text, latex, macros
from harness.report.formats.view import View
from harness.report.table import Table, markdown, shortened

OF_TABLES: Mapping[str, Callable[[Table], str]] = {"markdown": markdown, "latex": latex.text, "html": html.text}
"""Formats to read: one table after the other, numbers rounded."""

SUFFIXES = {".md": "markdown", ".csv": "csv", ".json": "json", ".tex": "latex", ".html": "html", ".txt": "table"}
"""Formats by the suffix of a file."""


def render(format: str, views: Sequence[View], more: Sequence[Table] = ()) -> str:
    """The boards as text. more: tables of other origin, for the formats to read.

    format: markdown, latex or html, one table after the other; csv or json, a row per metric and unrounded; macros, a
        LaTeX macro per number.
    """
    if format in OF_TABLES:
        return "\n".join(map(OF_TABLES[format], map(shortened, [*(view.table() for view in views), *more])))
    if more or any(view.seeds for view in views):
        option = "--published" if more else "--seeds"
        raise HarnessError(
            f"{option} gives tables to read: --format must be table, markdown, latex or html, not {format}."
        )
    if format == "macros":
        return macros.text(views)
    rows = [row for view in views for row in view.rows()]
    return csv_text.text(rows) if format == "csv" else json_text.text(rows)
