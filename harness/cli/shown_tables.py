"""Tables on the terminal or in a file, in the format that the options of `board_options` name."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from harness.cli.board_options import Format, check_out

if TYPE_CHECKING:
    from harness.report.table import Table


def show_tables(tables: Sequence[Table], format: Format | None, out: Path | None, closing: str = "") -> None:
    """Print tables, or write them to a file. closing: a line below tables to read."""
    from harness.terminal import console

    kind = kind_of(format, out)
    if kind != Format.table:
        from harness.report.formats.render import render_tables

        put(render_tables(kind, tables), kind, out)
    elif out:
        put("".join([*map(console.text, tables), f"{closing}\n" if closing else ""]), kind, out)
    else:
        for table in tables:
            console.show(table)
        if closing:
            console.out.print(closing)


def kind_of(format: Format | None, out: Path | None) -> str:
    """The format: as it was asked for, or by the suffix of the file; otherwise a table to read.

    Raises HarnessError for a suffix that means no format, and for a file in an absent folder.
    """
    check_out(format, out)
    if format or not out:
        return str(format or Format.table)
    from harness.report.formats.render import SUFFIXES

    return SUFFIXES[out.suffix.lower()]


def put(text: str, kind: str, out: Path | None) -> None:
    """Print the text of a format, or write it to a file."""
    from harness.base.files import writing
    from harness.terminal import console

    if not out:
        console.write(text)
        return
    with writing(out) as file:
        file.write_text(text, encoding="utf-8", errors="backslashreplace", newline="")
    console.note(f"Wrote {out} as {kind}.")
