"""``harness leaderboard``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.base.errors import HarnessError
from harness.cli import board_options
from harness.cli.board_options import SHOWN, WRITTEN, As, Columns, Format, Methods, Models, Out, Where
from harness.cli.options import RESULTS, Plugin
from harness.cli.shown_tables import kind_of, put, show_tables

if TYPE_CHECKING:
    from harness.evaluation.records.record import RunRecord
    from harness.report.filters import RowFilter
    from harness.report.formats.view import View
    from harness.report.table import Table

METRIC = "One metric under every condition: accuracy, certified_accuracy, auroc."
WRITE = "Also write RESULTS/leaderboard.md, without local records."
SEEDS = "One row for trainings that differ only in their seed, by their cards."
PLOT = "Folder for figures (PNG and SVG, a paper's column wide) of each table shown."


def leaderboard(
    suite: Annotated[str | None, typer.Option(help="Only this suite.")] = None,
    results: Annotated[Path, typer.Option(help="Folder with records, searched through.")] = RESULTS,
    metric: Annotated[str | None, typer.Option(help=METRIC, rich_help_panel=SHOWN)] = None,
    columns: Columns = [],  # noqa: B006
    models: Models = [],  # noqa: B006
    methods: Methods = [],  # noqa: B006
    where: Where = [],  # noqa: B006
    format: As = None,
    out: Out = None,
    write: Annotated[bool, typer.Option("--write", help=WRITE, rich_help_panel=WRITTEN)] = False,
    plot: Annotated[Path | None, typer.Option(help=PLOT, rich_help_panel=WRITTEN)] = None,
    published: Annotated[bool, typer.Option("--published", help="Also the numbers that papers printed.")] = False,
    seeds: Annotated[bool, typer.Option("--seeds", help=SEEDS, rich_help_panel=SHOWN)] = False,
    plugin: Plugin = [],  # noqa: B006
) -> None:
    """Rank the records in a results folder; whole test sets and subsets never share a table.

    Ranks are of the whole board: hiding rows changes none. Columns without room in the terminal follow in a second
    block.

    Examples: `harness leaderboard --suite digits-c --metric accuracy --models 'digits/vit*'`,
    `--where 'mean_accuracy>90%'`, `--suite certify --columns 'certified_accuracy@sigma=0.5*'`,
    `--format csv --out results.csv`, `--suite digits-c --format latex --out table.tex`
    """
    from harness import plugins
    from harness.report.filters import RowFilter
    from harness.report.formats.view import View
    from harness.report.published.paper_tables import paper_tables
    from harness.report.selection import is_of
    from harness.terminal import console

    board_options.check_out(format, out)
    if plugin or plot or (suite and ":" in suite):
        # Importing every plugin takes seconds, and all else is in the records.
        plugins.discover(*plugin)
    everything = _found(results, may_be_absent=published)
    records = [r for r in everything if is_of(r, suite)]
    rows = RowFilter(board_options.split(models), board_options.split(methods), tuple(where))
    patterns = board_options.split(columns)
    asked = suite or metric or write or plot or rows != RowFilter() or patterns
    if not records and (asked or not published):
        raise HarnessError(_none_of(suite, everything, results))
    views = _views(records, rows, View([], [], metric, patterns, seeds)) if records else []
    _show(views, paper_tables(results, console.leave_out) if published else [], format, out)
    if write:
        _write(everything, results)
    if plot:
        _plot(views, plot, sorted({entry.model.name for entry in everything}))


def _found(results: Path, may_be_absent: bool) -> list[RunRecord]:
    """The records in a results folder; HarnessError where there is no folder."""
    from harness.report.boards import find
    from harness.terminal import console

    if results.is_dir() or may_be_absent:
        return find(results, console.leave_out) if results.is_dir() else []
    raise HarnessError(
        f"No results folder at {results.absolute()}. Run something first (harness run), or give --results."
    )


def _views(records: Sequence[RunRecord], rows: RowFilter, asked: View) -> list[View]:
    """The boards with the rows and columns that are asked for; HarnessError where none are left."""
    from harness.report.boards import boards, having
    from harness.report.filters import check_columns

    rows.check(records)
    check_columns(records, asked.patterns)
    shown = having(records, asked.metric) if asked.metric else records
    views = [replace(asked, board=board, places=rows.places(board)) for board in boards(shown).values()]
    views = [view for view in views if not view.is_empty()]
    if not views:
        raise HarnessError(f"None of {len(shown)} rows meets every filter. Drop or widen one of them.")
    return views


def _show(views: Sequence[View], more: Sequence[Table], format: Format | None, out: Path | None) -> None:
    """Print boards and other tables, or write them to a file."""
    from harness.report.boards import doubtful
    from harness.report.formats.render import render
    from harness.report.table import share
    from harness.terminal import console

    kind = kind_of(format, out)
    if kind == Format.table:
        tables, shared = share([view.table() for view in views])
        show_tables([*tables, *more], Format.table, out, f"All tables: {shared}" if shared else "")
    else:
        put(render(kind, views, more), kind, out)
    for view in views:
        if doubts := doubtful([view.board[place] for place in view.places]):
            console.warn(doubts)


def _plot(views: Sequence[View], folder: Path, models: Sequence[str]) -> None:
    """Write the figures of each board; last, since a figure may need a sample table that is not there.

    models: names of all classifiers in the results folder.
    """
    from harness.report.figures import draw as figures
    from harness.terminal import console

    for view in views:
        written = figures.write([view.board[place] for place in view.places], folder, models)
        console.out.print("Plotted: " + ", ".join(map(str, written)))


def _none_of(suite: str | None, records: Sequence[RunRecord], results: Path) -> str:
    """Message for a results folder without the records that were asked for."""
    from harness.base.errors import near_matches
    from harness.report.names import plain

    if not suite or not records:
        return f"No records{f' of suite {suite!r}' if suite else ''} in {results.absolute()}. Run: harness run"
    suites = sorted({plain(record.suite) for record in records})
    hint = near_matches(suite, suites)
    return f"No records of suite {suite!r} in {results.absolute()}.{hint} There are records of {', '.join(suites)}."


def _write(records: list[RunRecord], results: Path) -> None:
    """Write the leaderboard file from the shipped ones of the records."""
    from harness.base.files import writing
    from harness.report.boards import is_local
    from harness.report.leaderboard import page
    from harness.terminal import console

    shipped = [r for r in records if r.path and not is_local(r.path, results)]
    with writing(results / "leaderboard.md") as file:
        file.write_text(page(shipped), encoding="utf-8", errors="backslashreplace")
    console.out.print(f"Wrote {results / 'leaderboard.md'} from {len(shipped)} records.")
