"""``harness compare``."""

from __future__ import annotations

from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness.base.errors import HarnessError
from harness.cli.board_options import As, Out
from harness.cli.commands.list import catalogue
from harness.cli.options import RESULTS, Plugin
from harness.cli.shown_tables import show_tables

if TYPE_CHECKING:
    from harness.evaluation.records.record import RunRecord
    from harness.report.table import Table


def compare(
    a: Annotated[str, typer.Argument(help="MODEL:METHOD, or a record's .json file: the baseline.")],
    b: Annotated[str, typer.Argument(help="The same for the challenger.")],
    suite: Annotated[str | None, typer.Option(help="Suite, where both were run on several.")] = None,
    results: Annotated[Path, typer.Option(help="Folder with records.")] = RESULTS,
    seeds: Annotated[
        bool, typer.Option("--seeds", help="Pair the trainings of both that differ only in their seed, by their cards.")
    ] = False,
    format: As = None,
    out: Out = None,
    plugin: Plugin = [],  # noqa: B006
) -> None:
    """Compare two records on the same samples: difference, interval, p (exact McNemar; DeLong for detectors).

    p-values of several rows are adjusted for their number (Holm).

    Example: `harness compare digits/resnet:default digits/resnet+diffaug:de --suite digits-c`
    """
    from harness import plugins
    from harness.report import boards, selection
    from harness.terminal import console

    if plugin or (suite and ":" in suite):
        plugins.discover(*plugin)
    if not results.is_dir():
        raise HarnessError(f"No results folder at {results.absolute()}. Run something first, or give --results.")
    records = boards.find(results, console.leave_out)
    left, right = selection.select_two(a, b, records, suite)
    selection.check_pairable(left, right)
    if seeds:
        from harness.report.ranks.seeds import compare as compare_trainings  # with scipy, which remembered tables spare

        show_tables([compare_trainings(left, right, records)], format, out)
    else:
        show_tables([_compared(left, right, plugin)], format, out)


def _compared(a: RunRecord, b: RunRecord, plugin: list[Path]) -> Table:
    """The suite's table of b against a; remembered for suites of the project, together with both records' files."""
    from importlib.metadata import version

    from harness import plugins
    from harness.plugins import cache
    from harness.report.table import Table

    modules = {} if plugin else cache.remembered("catalogue", catalogue)["modules"]
    name = a.suite.partition(":")[0]
    if name not in modules:
        plugins.discover()
        table: Table = plugins.suite.configure(a.suite).plugin.compare(a, b)
        return table

    def computed() -> dict[str, Any]:
        # The one suite is enough, and takes a fraction of the time.
        import_module(modules[name])
        if name not in plugins.suite:
            plugins.discover()
        return asdict(plugins.suite.configure(a.suite).plugin.compare(a, b))

    libraries = [f"{package} {version(package)}" for package in ("numpy", "scipy", "statsmodels")]
    return Table(**cache.remembered("compare", computed, *_files_of(a), *_files_of(b), *libraries))


def _files_of(record: RunRecord) -> list[str]:
    """Name and SHA-256 of a record's file and of its sample table; a missing table is an error of the comparison."""
    from harness.base.files import file_sha256

    assert record.path is not None
    files = [record.path, record.path.with_name(record.samples["file"])]
    return [f"{file.name} {file_sha256(file) if file.is_file() else 'missing'}" for file in files]
