"""``harness show``."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.base.errors import HarnessError
from harness.cli.board_options import As, Format, Out
from harness.cli.options import RESULTS, Plugin
from harness.cli.shown_tables import kind_of, show_tables

if TYPE_CHECKING:
    from harness.evaluation.records.record import RunRecord


def show(
    record: Annotated[str, typer.Argument(help="MODEL:METHOD, a record's .json file, or the start of its key.")],
    suite: Annotated[str | None, typer.Option(help="Suite, where it was run on several.")] = None,
    results: Annotated[Path, typer.Option(help="Folder with records.")] = RESULTS,
    format: As = None,
    out: Out = None,
    plugin: Plugin = [],  # noqa: B006
) -> None:
    """Show one record in full: metrics, weights, settings, cost, files, and the line of Python that opens its samples.

    Examples: `harness show digits/resnet:dda --suite digits-c`, `harness show 547611`,
    `harness show results/local/digits/RECORD.json`
    """
    from harness import plugins
    from harness.report import boards
    from harness.report.record_page import line_of_python, record_tables
    from harness.report.selection import resolve
    from harness.terminal import console

    if plugin or (suite and ":" in suite):
        plugins.discover(*plugin)
    is_file = record.endswith(".json") or Path(record).is_file()
    if not is_file and not results.is_dir():
        raise HarnessError(f"No results folder at {results.absolute()}. Run something first, or give --results.")
    records = [] if is_file else boards.find(results, console.leave_out)
    matches = _of_key(record, records) or resolve(record, records, suite)
    entry = _only(record, matches)
    if out or kind_of(format, out) != Format.table:
        show_tables(record_tables(entry), format, out)
        return
    for table in record_tables(entry):
        console.show(table)
        console.out.print()
    console.out.print("One row per sample and condition, as a pandas frame:")
    console.out.print(f"  {line_of_python(entry)}", soft_wrap=True)


def _of_key(text: str, records: Sequence[RunRecord]) -> list[RunRecord]:
    """The records whose key starts with a text of four hexadecimal digits or more."""
    return [entry for entry in records if entry.key.startswith(text)] if re.fullmatch("[0-9a-f]{4,12}", text) else []


def _only(text: str, matches: Sequence[RunRecord]) -> RunRecord:
    """The one record that a text means: of whole test sets, if there are some and subsets; HarnessError for several."""
    from harness.report.names import title

    whole = [entry for entry in matches if entry.status == "complete"] or matches
    if len(whole) > 1:
        lines = "\n  ".join(f"{entry.key}  {title(entry)}  {entry.variant}  {entry.path}" for entry in whole)
        raise HarnessError(
            f"{text!r} means {len(whole)} records. Give --suite, or the key of one, as in harness show "
            f"{whole[0].key}:\n  {lines}"
        )
    return whole[0]
