"""``harness results``: records checked and passed on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.base.errors import HarnessError
from harness.cli.options import RESULTS, Plugin

if TYPE_CHECKING:
    from harness.exchange.verify import Verdict

app = typer.Typer(no_args_is_help=True, help="Check records, and pass them on: merge, push, pull, export.")

Paths = Annotated[
    list[Path], typer.Argument(metavar="[DIR|FILE]...", help="Results folders, or records. [default: results]")
]
Data = Annotated[
    list[str],
    typer.Option(
        "--data",
        metavar="DIR|SUITE=DIR",
        help="Folder of a suite's data, so that ids, labels and hashes are compared with it. Repeatable.",
    ),
]

SHOWN = 8
"""Differences of one record that the terminal lists; --json has all of them."""


@app.command()
def verify(
    paths: Paths = [],  # noqa: B006
    data: Data = [],  # noqa: B006
    json: Annotated[bool, typer.Option("--json", help="Print the verdicts as JSON.")] = False,
    plugin: Plugin = [],  # noqa: B006
) -> None:
    """Compute every metric again from the sample tables, check all else that can be, and name each difference.

    Exit code 0: all records are ok; 1: one differs or cannot be checked. Consistent forgeries of predictions show only
    when the run is repeated: `harness rerun RECORD.json`.

    Examples: `harness results verify`, `harness results verify theirs/ --data imagenet-c=/data/imagenet-c`
    """
    from harness.exchange.folders import files_of
    from harness.exchange.verify import OK
    from harness.terminal import console

    verdicts = checked(files_of(paths or [RESULTS]), data, plugin)
    if json:
        from json import dumps

        console.out.print(dumps([verdict.as_json() for verdict in verdicts], indent=1), soft_wrap=True)
    else:
        show(verdicts)
    raise typer.Exit(0 if all(verdict.outcome == OK for verdict in verdicts) else 1)


def checked(files: list[Path], data: list[str], plugin: list[Path]) -> list[Verdict]:
    """The verdict on each file, under a progress bar."""
    from harness import plugins
    from harness.exchange.inputs import Inputs
    from harness.exchange.verify import verify as verdicts_on
    from harness.terminal import console

    plugins.discover(*plugin)
    inputs = Inputs(_folders(data))
    verdicts = []
    with console.progress() as bar:
        task = bar.begin("records", total=len(files))
        for count, verdict in enumerate(verdicts_on(files, inputs), 1):
            verdicts.append(verdict)
            bar.update(task, completed=count)
    return verdicts


def _folders(data: list[str]) -> dict[str, str]:
    """Folders by the suite that reads them, "" for all others."""
    from harness import plugins

    folders: dict[str, str] = {}
    for text in data:
        suite, equals, folder = text.partition("=")
        name, folder = (suite, folder) if equals and suite in plugins.suite else ("", text)
        if not Path(folder).is_dir():
            raise HarnessError(f"--data {text}: no folder at {Path(folder).absolute()}. Give DIR or SUITE=DIR.")
        folders[name] = folder
    return folders


def show(verdicts: list[Verdict]) -> None:
    """Print a table of all records, and the differences of those that are not ok."""
    from harness.exchange.verify import OK, lines, table
    from harness.terminal import console

    for verdict in verdicts:
        for line in lines(verdict, SHOWN) if verdict.outcome != OK else ():
            console.out.print(line, soft_wrap=True)
    console.show(table(verdicts), least=True)
