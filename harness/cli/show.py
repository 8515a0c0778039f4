"""``harness list``, ``harness compare`` and ``harness leaderboard``."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from harness.cli.options import RESULTS, Plugin
from harness.errors import HarnessError


class Kind(StrEnum):
    """What `harness list` lists."""

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
    from harness import console, leaderboard, plugins
    from harness.train import recipes

    plugins.discover(*plugin)
    registries = {
        Kind.models: plugins.model, Kind.tta: plugins.method, Kind.smoothers: plugins.smoother,
        Kind.detectors: plugins.detector, Kind.attacks: plugins.attack,
        Kind.suites: plugins.suite, Kind.denoisers: plugins.denoiser, Kind.datasets: plugins.dataset,
        Kind.architectures: plugins.architecture, Kind.augmentations: plugins.augmentation,
        Kind.distorters: plugins.distorter,
    }  # fmt: skip
    for name, registry in registries.items():
        if kind in (None, name):
            rows = [[entry.name, entry.summary, entry.settings] for entry in registry.entries()]
            rows += [[name, family.summary, ""] for name, family in registry.families.items()]
            console.show(leaderboard.Table(name.value, ["name", "what it is", "settings"], rows, multiline=True))
    if kind in (None, Kind.recipes):
        found = [recipes.load(name) for name in recipes.names()]
        rows = [[recipe.name, recipe.about, recipe.expected] for recipe in found]
        console.show(leaderboard.Table("recipes", ["name", "what it trains", "expected"], rows))


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
    from harness import comparison, console, leaderboard, plugins

    plugins.discover(*plugin)
    if not results.is_dir():
        raise HarnessError(f"No results folder at {results.absolute()}. Run something first, or give --results.")
    records = leaderboard.find(results, console.leave_out)
    left, right = comparison.pair(a, b, records, suite)
    comparison.check_pairable(left, right)
    console.show(plugins.suite.configure(left.suite)[1].compare(left, right))


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
    from harness import console, plots, plugins
    from harness import leaderboard as boards
    from harness.files import writing

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
    for table in boards.published(results, console.leave_out) if published else ():
        console.show(table)
    if write:
        shipped = [r for r in everything if r.path and not boards.is_local(r.path, results)]
        with writing(results / "leaderboard.md") as file:
            file.write_text(boards.page(shipped), encoding="utf-8")
        console.out.print(f"Wrote {results / 'leaderboard.md'} from {len(shipped)} records.")
    # Last, since a figure may need a sample table that is not there.
    for entries in groups:
        if plot:
            console.out.print("Plotted: " + ", ".join(map(str, plots.write(entries, plot))))
