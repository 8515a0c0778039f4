"""``harness list``, ``harness compare`` and ``harness leaderboard``."""

from __future__ import annotations

from dataclasses import asdict
from enum import StrEnum
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness.base.errors import HarnessError
from harness.cli.options import RESULTS, Plugin

if TYPE_CHECKING:
    from harness.evaluation.records.record import RunRecord
    from harness.report.table import Table


class Kind(StrEnum):
    """Kinds of plugin for `harness list`, in the order of its tables."""

    models = "models"
    tta = "tta"
    smoothers = "smoothers"
    detectors = "detectors"
    attacks = "attacks"
    suites = "suites"
    denoisers = "denoisers"
    datasets = "datasets"
    architectures = "architectures"
    augmentations = "augmentations"
    distorters = "distorters"
    recipes = "recipes"


def list_plugins(
    kind: Annotated[Kind | None, typer.Argument(help="Leave out for everything.")] = None,
    plugin: Plugin = [],  # noqa: B006
) -> None:
    """List what is there: models, test-time methods, smoothers, detectors, suites and what they are made of."""
    from harness import plugins
    from harness.cli import console
    from harness.plugins import cache
    from harness.report.table import Table

    if plugin:
        plugins.discover(*plugin)
    rows = (_catalogue() if plugin else cache.remembered("catalogue", _catalogue))["rows"]
    for name in Kind:
        if kind in (None, name):
            recipes = name is Kind.recipes
            header = ["name", "what it trains", "expected"] if recipes else ["name", "what it is", "settings"]
            console.show(Table(name.value, header, rows[name.value], multiline=not recipes))


def _catalogue() -> dict[str, dict[str, Any]]:
    """The plugins as texts. rows: those of `harness list` by kind. modules: of the project's suites, by name."""
    from harness import plugins
    from harness.train import recipes

    plugins.discover()
    registries = {
        Kind.models: plugins.model, Kind.tta: plugins.method, Kind.smoothers: plugins.smoother,
        Kind.detectors: plugins.detector, Kind.attacks: plugins.attack,
        Kind.suites: plugins.suite, Kind.denoisers: plugins.denoiser, Kind.datasets: plugins.dataset,
        Kind.architectures: plugins.architecture, Kind.augmentations: plugins.augmentation,
        Kind.distorters: plugins.distorter,
    }  # fmt: skip
    rows: dict[str, list[list[str]]] = {}
    for kind, registry in registries.items():
        rows[kind.value] = [[entry.name, entry.summary, entry.settings] for entry in registry.entries()]
        rows[kind.value] += [[name, family.summary, ""] for name, family in registry.families.items()]
    loaded = [recipes.load(name) for name in recipes.names()]
    rows[Kind.recipes.value] = [[recipe.name, recipe.about, recipe.expected] for recipe in loaded]
    modules = {entry.name: entry.build.__module__ for entry in plugins.suite.entries() if not entry.source}
    return {"rows": rows, "modules": modules}


def compare(
    a: Annotated[str, typer.Argument(help="MODEL:METHOD, or a record's .json file: the baseline.")],
    b: Annotated[str, typer.Argument(help="The same for the challenger.")],
    suite: Annotated[str | None, typer.Option(help="Suite, where both were run on several.")] = None,
    results: Annotated[Path, typer.Option(help="Folder with records.")] = RESULTS,
    plugin: Plugin = [],  # noqa: B006
) -> None:
    """Compare two records on the same samples: difference, interval, p (exact McNemar; DeLong for detectors).

    p-values of several rows are adjusted for their number (Holm).

    Example: `harness compare digits/resnet:default digits/resnet+diffaug:de --suite digits-c`
    """
    from harness import plugins
    from harness.cli import console
    from harness.report import leaderboard, selection

    if plugin or (suite and ":" in suite):
        plugins.discover(*plugin)
    if not results.is_dir():
        raise HarnessError(f"No results folder at {results.absolute()}. Run something first, or give --results.")
    records = leaderboard.find(results, console.leave_out)
    left, right = selection.select_two(a, b, records, suite)
    selection.check_pairable(left, right)
    console.show(_compared(left, right, plugin))


def _compared(a: RunRecord, b: RunRecord, plugin: list[Path]) -> Table:
    """The suite's table of b against a; remembered for suites of the project, together with both records' files."""
    from importlib.metadata import version

    from harness import plugins
    from harness.plugins import cache
    from harness.report.table import Table

    modules = {} if plugin else cache.remembered("catalogue", _catalogue)["modules"]
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


def leaderboard(
    suite: Annotated[str | None, typer.Option(help="Only this suite.")] = None,
    results: Annotated[Path, typer.Option(help="Folder with records, searched through.")] = RESULTS,
    metric: Annotated[
        str | None, typer.Option(help="One metric under every condition: accuracy, certified_accuracy, auroc.")
    ] = None,
    write: Annotated[
        bool, typer.Option("--write", help="Also write RESULTS/leaderboard.md, without local records.")
    ] = False,
    plot: Annotated[Path | None, typer.Option(help="Folder for a figure (PNG and SVG) of each table shown.")] = None,
    published: Annotated[bool, typer.Option("--published", help="Also the numbers that papers printed.")] = False,
    plugin: Plugin = [],  # noqa: B006
) -> None:
    """Rank the records in a results folder; whole test sets and subsets never share a table.

    Examples: `harness leaderboard --suite certify --metric certified_accuracy`, `--suite digits-c --metric accuracy`
    """
    from harness import plugins
    from harness.cli import console
    from harness.report import leaderboard as boards
    from harness.report.paper_tables import paper_tables

    if plugin or plot or (suite and ":" in suite):
        # Importing every plugin takes seconds, and all else is in the records.
        plugins.discover(*plugin)
    if not results.is_dir():
        raise HarnessError(
            f"No results folder at {results.absolute()}. Run something first (harness run), or give --results."
        )
    everything = boards.find(results, console.leave_out)
    records = [r for r in everything if boards.is_of(r, suite)]
    if not records:
        raise HarnessError(
            f"No records{f' of suite {suite!r}' if suite else ''} in {results.absolute()}. Run: harness run"
        )
    groups = boards.boards(boards.having(records, metric) if metric else records).values()
    for entries in groups:
        console.show(boards.by_condition(entries, metric) if metric else boards.ranking(entries))
        if doubts := boards.doubtful(entries):
            console.warn(doubts)
    for table in paper_tables(results, console.leave_out) if published else ():
        console.show(table)
    if write:
        _write(everything, results)
    if plot:
        from harness.report import figures

        # Last, since a figure may need a sample table that is not there.
        for entries in groups:
            console.out.print("Plotted: " + ", ".join(map(str, figures.write(entries, plot))))


def _write(records: list[RunRecord], results: Path) -> None:
    """Write the leaderboard file from the shipped ones of the records."""
    from harness.base.files import writing
    from harness.cli import console
    from harness.report import leaderboard as boards

    shipped = [r for r in records if r.path and not boards.is_local(r.path, results)]
    with writing(results / "leaderboard.md") as file:
        file.write_text(boards.page(shipped), encoding="utf-8")
    console.out.print(f"Wrote {results / 'leaderboard.md'} from {len(shipped)} records.")
