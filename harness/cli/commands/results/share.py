"""``harness results``: records checked and passed on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.base.errors import HarnessError
from harness.cli.options import RESULTS, Plugin

if TYPE_CHECKING:
    from harness.exchange.merge import Merged
    from harness.exchange.verify import Verification

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


def checked(files: list[Path], data: list[str], plugin: list[Path]) -> list[Verification]:
    """The verdict on each file, under a progress bar."""
    from harness import plugins
    from harness.exchange.inputs import DataAtHand
    from harness.exchange.side_by_side import verify as verdicts_on
    from harness.terminal import console

    plugins.discover(*plugin)
    inputs = DataAtHand(_folders(data))
    verdicts = []
    with console.progress() as bar:
        task = bar.begin("records", total=len(files))
        for count, verdict in enumerate(verdicts_on(files, inputs, plugin), 1):
            verdicts.append(verdict)
            bar.update(task, completed=count, computed=count, unit="records")
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


def show(verdicts: list[Verification]) -> None:
    """Print a table of all records, and the differences of those that are not ok."""
    from harness.exchange.verify import OK, lines, table
    from harness.terminal import console

    for verdict in verdicts:
        for line in lines(verdict, SHOWN) if verdict.outcome != OK else ():
            console.out.print(line, soft_wrap=True)
    console.show(table(verdicts), least=True)


@app.command()
def merge(
    source: Annotated[Path, typer.Argument(help="Folder with records of another machine or person.")],
    into: Annotated[Path, typer.Option(help="Results folder that takes them.")] = RESULTS,
    data: Data = [],  # noqa: B006
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be copied.")] = False,
    plugin: Plugin = [],  # noqa: B006
) -> None:
    """Verify records and copy them, each with its sample table. Nothing is overwritten.

    Exit code 0: all are there now; 1: some were left out, or are in conflict with records of the same key.

    Example: `harness results merge theirs/results --dry-run`
    """
    from harness.exchange.folders import files_of
    from harness.exchange.merge import merge as merged

    _finish(merged(checked(files_of([source]), data, plugin), into, dry_run), dry_run)


@app.command()
def push(
    store: Annotated[str, typer.Argument(metavar="DEST", help="hf://datasets/ORG/NAME, s3://BUCKET/DIR, a folder.")],
    paths: Paths = [],  # noqa: B006
    data: Data = [],  # noqa: B006
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be copied.")] = False,
    plugin: Plugin = [],  # noqa: B006
) -> None:
    """Verify records and put them into a data set on the Hugging Face hub, or any address of fsspec.

    Example: `harness results push hf://datasets/ORG/NAME results/local`
    """
    from harness.exchange.folders import files_of
    from harness.exchange.push import push as pushed
    from harness.exchange.stores import Store

    target = Store.of(store)
    _finish(pushed(checked(files_of(paths or [RESULTS]), data, plugin), target, dry_run), dry_run)


@app.command()
def pull(
    store: Annotated[str, typer.Argument(metavar="SOURCE", help="hf://datasets/ORG/NAME, s3://BUCKET/DIR, a folder.")],
    into: Annotated[Path, typer.Option(help="Results folder that takes the records.")] = RESULTS,
    data: Data = [],  # noqa: B006
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be copied.")] = False,
    plugin: Plugin = [],  # noqa: B006
) -> None:
    """Fetch the records of a store, verify them, and merge them into a results folder.

    Example: `harness results pull hf://datasets/ORG/NAME --into results/local`
    """
    from harness.exchange.folders import files_of
    from harness.exchange.merge import REFUSED, Merged
    from harness.exchange.merge import merge as merged
    from harness.exchange.stores import Store, fetched

    with fetched(Store.of(store)) as (folder, reasons):
        refused = [Merged(Path(place), place, REFUSED, reason) for place, reason in reasons.items()]
        files = files_of([folder]) if any(folder.iterdir()) else []
        _finish([*merged(checked(files, data, plugin), into, dry_run), *refused], dry_run)


@app.command()
def export(
    to: Annotated[str, typer.Option(help="hf-eval-results, model-index.")],
    model: Annotated[str, typer.Option(help="Name of the classifier in the records.")],
    out: Annotated[Path, typer.Option(help="Folder for the files, as they belong into the model's repository.")],
    results: Annotated[Path, typer.Option(help="Folder with records.")] = RESULTS,
    suite: Annotated[str | None, typer.Option(help="Only this suite.")] = None,
    dataset: Annotated[str, typer.Option(help="Id of the benchmark on the Hugging Face hub: ORG/NAME.")] = "",
    allow_partial: Annotated[
        bool, typer.Option("--allow-partial", help="Take records of a part of the test set, too.")
    ] = False,
) -> None:
    """Write the results of one classifier as metadata of its model card on the Hugging Face hub.

    A README.md that is there keeps its text and other metadata. Records of a part of the test set are refused.

    Example: `harness results export --to model-index --model digits/vit --suite digits-c --out card`
    """
    from harness.base.errors import suggest
    from harness.exchange.export import export as exported
    from harness.report.boards import find
    from harness.report.selection import is_of
    from harness.terminal import console

    if not results.is_dir():
        raise HarnessError(f"No results folder at {results.absolute()}. Give --results.")
    records = [record for record in find(results, console.leave_out) if is_of(record, suite)]
    entries = [record for record in records if record.model.name == model]
    if not entries:
        raise suggest("model", model, sorted({record.model.name for record in records}))
    for path in exported(to, entries, out, dataset, model, allow_partial):
        console.out.print(f"Wrote {path}", soft_wrap=True)


def _finish(outcomes: list[Merged], dry_run: bool) -> None:
    """Print what became of the records, and end with 1 where some were refused."""
    from harness.exchange.merge import lines
    from harness.terminal import console

    for line in lines(outcomes, dry_run):
        console.out.print(line, soft_wrap=True)
    raise typer.Exit(0 if all(outcome.fine for outcome in outcomes) else 1)
