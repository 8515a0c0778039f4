"""``harness reproduce``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.base.errors import HarnessError
from harness.cli.board_options import As, Format, Out
from harness.cli.options import RESULTS
from harness.cli.shown_tables import kind_of, show_tables

if TYPE_CHECKING:
    from harness.evaluation.records.record import RunRecord
    from harness.report.published.missing import Missing
    from harness.report.published.reproduction import PublishedBlock


def reproduce(
    table: Annotated[str, typer.Argument(help="Table of the paper, such as table1, or a block of it.")] = "",
    results: Annotated[Path, typer.Option(help="Folder with records, searched through.")] = RESULTS,
    list_: Annotated[bool, typer.Option("--list", help="The tables there are, and how much of each is measured.")] = (
        False
    ),
    format: As = None,
    out: Out = None,
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
        show_tables([reproduction.overview(read, records)], format, out)
        return
    blocks = reproduction.select(table, read)
    tables = [
        shown
        for block in blocks
        for shown in (reproduction.table(block, records), reproduction.table_on_digits(block, records))
        if shown
    ]
    show_tables(tables, format, out)
    if not out and kind_of(format, out) == Format.table:
        for block in blocks:
            _print_missing(block, records)


def _print_missing(block: PublishedBlock, records: Sequence[RunRecord]) -> None:
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
