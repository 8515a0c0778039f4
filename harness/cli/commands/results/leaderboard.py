"""``harness leaderboard``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.base.errors import HarnessError
from harness.cli.options import RESULTS, Plugin

if TYPE_CHECKING:
    from harness.evaluation.records.record import RunRecord
    from harness.report.table import Table


Seeds = Annotated[
    bool, typer.Option("--seeds", help="One row for trainings that differ only in their seed, by their cards.")
]


def leaderboard(
    suite: Annotated[str | None, typer.Option(help="Only this suite.")] = None,
    results: Annotated[Path, typer.Option(help="Folder with records, searched through.")] = RESULTS,
    metric: Annotated[
        str | None, typer.Option(help="One metric under every condition: accuracy, certified_accuracy, auroc.")
    ] = None,
    write: Annotated[bool, typer.Option("--write", help="Also write RESULTS/leaderboard.md, shipped ones.")] = False,
    plot: Annotated[Path | None, typer.Option(help="Folder for a figure (PNG and SVG) of each table shown.")] = None,
    published: Annotated[bool, typer.Option("--published", help="Also the numbers that papers printed.")] = False,
    seeds: Seeds = False,
    plugin: Plugin = [],  # noqa: B006
) -> None:
    """Rank the records in a results folder; whole test sets and subsets never share a table.

    Examples: `harness leaderboard --suite certify --metric certified_accuracy`, `--suite digits-c --metric accuracy`
    """
    from harness import plugins
    from harness.report.boards import boards, doubtful, find, having
    from harness.report.leaderboard import by_condition
    from harness.report.published.paper_tables import paper_tables
    from harness.report.selection import is_of
    from harness.terminal import console

    if plugin or plot or (suite and ":" in suite):
        # Importing every plugin takes seconds, and all else is in the records.
        plugins.discover(*plugin)
    if not results.is_dir() and not published:
        raise HarnessError(
            f"No results folder at {results.absolute()}. Run something first (harness run), or give --results."
        )
    everything = find(results, console.leave_out) if results.is_dir() else []
    records = [r for r in everything if is_of(r, suite)]
    if not records and (suite or metric or write or plot or not published):
        raise HarnessError(_none_of(suite, everything, results))
    groups = boards(having(records, metric) if metric else records).values()
    for entries in groups:
        console.show(by_condition(entries, metric) if metric else _ranked(entries, seeds))
        if doubts := doubtful(entries):
            console.warn(doubts)
    for table in paper_tables(results, console.leave_out) if published else ():
        console.show(table)
    if write:
        _write(everything, results)
    if plot:
        from harness.report.figures import draw as figures

        # Last, since a figure may need a sample table that is not there.
        for entries in groups:
            console.out.print("Plotted: " + ", ".join(map(str, figures.write(entries, plot))))


def _ranked(entries: Sequence[RunRecord], seeds: bool) -> Table:
    from harness.report import leaderboard

    if not seeds:
        return leaderboard.ranking(entries)
    from harness.report.ranks.seeds import ranking  # with statsmodels, which leaderboards do without

    return ranking(entries)


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
        file.write_text(page(shipped), encoding="utf-8")
    console.out.print(f"Wrote {results / 'leaderboard.md'} from {len(shipped)} records.")
