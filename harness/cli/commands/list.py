"""``harness list``, and the texts on all plugins behind it."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

import typer

from harness.base.errors import suggest
from harness.cli.options import Plugin


class Kind(StrEnum):
    """Kinds of plugin for `harness list`, in the order of its tables."""

    models = "models"
    methods = "methods"
    smoothers = "smoothers"
    detectors = "detectors"
    attacks = "attacks"
    suites = "suites"
    denoisers = "denoisers"
    datasets = "datasets"
    corruptions = "corruptions"
    architectures = "architectures"
    augmentations = "augmentations"
    distorters = "distorters"
    recipes = "recipes"

    @classmethod
    def named(cls, text: str) -> Kind:
        """The kind of a name, also in the singular; of test-time methods ``tta`` is the older one."""
        name = {"tta": "methods"}.get(text, text)
        for choice in (name, f"{name}s"):
            if choice in [*cls]:
                return cls(choice)
        raise suggest("kind of plugin", text, [*cls])


def list_plugins(
    kind: Annotated[
        str, typer.Argument(help=f"One of {', '.join(Kind)}. [default: all]", metavar="[KIND]", show_default=False)
    ] = "",
    plugin: Plugin = [],  # noqa: B006
) -> None:
    """List the plugins: models, test-time methods, smoothers, detectors, attacks, suites and their ingredients."""
    from harness import plugins
    from harness.plugins import cache
    from harness.report.table import Table
    from harness.terminal import console

    if plugin:
        plugins.discover(*plugin)
    kinds = [Kind.named(kind)] if kind else [*Kind]
    rows = (catalogue() if plugin else cache.remembered("catalogue", catalogue))["rows"]
    for name in kinds:
        recipes = name is Kind.recipes
        header = ["name", "what it trains", "expected"] if recipes else ["name", "what it is", "settings"]
        console.show(Table(name.value, header, rows[name.value], multiline=not recipes))


def catalogue() -> dict[str, dict[str, Any]]:
    """The plugins as texts. rows: those of `harness list` by kind. modules: of the project's suites, by name."""
    from harness import plugins
    from harness.train import recipes

    plugins.discover()
    registries = {
        Kind.models: plugins.model, Kind.methods: plugins.method, Kind.smoothers: plugins.smoother,
        Kind.detectors: plugins.detector, Kind.attacks: plugins.attack,
        Kind.suites: plugins.suite, Kind.denoisers: plugins.denoiser, Kind.datasets: plugins.dataset,
        Kind.corruptions: plugins.corruption,
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
