"""``harness reproduce``."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.base.errors import HarnessError
from harness.cli.options import RESULTS

if TYPE_CHECKING:
    from harness.evaluation.records.record import RunRecord
    from harness.report.published.missing import Missing
    from harness.report.published.reproduction import Block
    from harness.report.table import Table


class Format(StrEnum):
    """Forms of the output."""

    table = "table"
    markdown = "markdown"
    csv = "csv"
    json = "json"


def reproduce(
    table: Annotated[str, typer.Argument(help="Table of the paper, such as table1, or a block of it.")] = "",
    results: Annotated[Path, typer.Option(help="Folder with records, searched through.")] = RESULTS,
    list_: Annotated[bool, typer.Option("--list", help="The tables there are, and how much of each is measured.")] = (
        False
    ),
    format_: Annotated[
        Format, typer.Option("--format", help="table, markdown, csv or json; the last two hold a row per number.")
    ] = Format.table,
) -> None:
    """Show a published table beside measured numbers, and what fills the rest.

    Beside each number stands the one that the records give, with its difference and interval; commands and their costs
    are for what is missing. Below it the same shape on the embedded digits, which no paper printed. A subset, another
    protocol or another version of a suite fills nothing.

    Examples: `harness reproduce`, `harness reproduce table1`, `harness reproduce imagenet_val_top1 --format csv`
    """
    from harness.report import boards
    from harness.report.published import reproduction
    from harness.report.published.paper_tables import papers
    from harness.terminal import console

    read = papers(results, console.leave_out)
    if not read:
        raise HarnessError("No published table is at hand. Reinstall the package, or restore results/published.")
    records = boards.find(results, console.leave_out) if results.is_dir() else []
    if list_ or not table:
        _print([reproduction.overview(read, records)], format_)
        return
    blocks = reproduction.select(table, read)
    tables = [
        shown
        for block in blocks
        for shown in (reproduction.table(block, records), reproduction.table_on_digits(block, records))
        if shown
    ]
    _print(tables, format_)
    if format_ in (Format.table, Format.markdown):
        for block in blocks:
            _print_missing(block, records)


def _print(tables: Sequence[Table], form: Format) -> None:
    """Print tables, or their unrounded numbers."""
    from harness.report.table import markdown
    from harness.terminal import console

    rows = [dict(row) for table in tables for row in table.data or ()]
    if form is Format.table:
        for table in tables:
            console.show(table)
    elif form is Format.markdown:
        console.out.print("\n".join(map(markdown, tables)), soft_wrap=True)
    elif form is Format.json:
        console.out.print(json.dumps(rows, indent=1), soft_wrap=True)
    else:
        text = io.StringIO()
        writer = csv.DictWriter(text, list(rows[0]) if rows else [], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        console.out.print(text.getvalue(), end="", soft_wrap=True)


def _print_missing(block: Block, records: Sequence[RunRecord]) -> None:
    """Print the commands that fill a block and its shape on digits, and what they cost."""
    from harness.report.published.missing import missing
    from harness.report.published.reproduction import fill
    from harness.terminal import console
    from harness.train import recipes

    paper = block.paper
    runs = missing(fill(paper.measured_by, records, paper)) if paper.measured_by else []
    runs += missing(fill(paper.digits, records), on_disk=True) if paper.digits else []
    if not runs:
        return
    console.out.print(f"\nMissing of {block.title}, and what fills it:")
    for recipe in map(recipes.load, dict.fromkeys(recipe for run in runs for recipe in run.recipes)):
        needs = "".join(f" --{name.replace('_', '-')} {name.upper()}" for name in recipe.needs)
        console.out.print(f"\n  {recipe.command}{needs} --out runs/{recipe.name}", soft_wrap=True)
        console.out.print("    A training, for a classifier without published weights.")
    for run in runs:
        _print_run(run, records)
    if not all(run.on_disk for run in runs):
        console.out.print(
            "DIR is the folder of the suite's data. harness weights list says which files of classifiers and of the "
            "diffusion model go where.",
            soft_wrap=True,
        )


def _print_run(run: Missing, records: Sequence[RunRecord]) -> None:
    from harness.api.costs import calls
    from harness.report.published.missing import duration
    from harness.terminal import console

    counted = calls(run)
    console.out.print(f"\n  {run.command}", soft_wrap=True)
    console.out.print(f"    {run.numbers} numbers: {counted}; {duration(run, counted, records)}.", soft_wrap=True)
