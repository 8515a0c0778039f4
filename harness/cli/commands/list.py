"""``harness list``, and the texts on all plugins behind it."""

from __future__ import annotations

import json
from collections.abc import Mapping
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
    guides = "guides"
    suites = "suites"
    denoisers = "denoisers"
    datasets = "datasets"
    corruptions = "corruptions"
    architectures = "architectures"
    augmentations = "augmentations"
    distorters = "distorters"
    recipes = "recipes"
    figures = "figures"

    @classmethod
    def named(cls, text: str) -> Kind:
        """The kind of a name, also in the singular; of test-time methods ``tta`` is the older one."""
        name = {"tta": "methods"}.get(text, text)
        for choice in (name, f"{name}s"):
            if choice in [*cls]:
                return cls(choice)
        raise suggest("kind of plugin", text, [*cls])


WORDS = {("interval", "0,1000000"): "all times"}
"""Defaults that are numbers for the computer, as (setting, default), in words."""


def list_plugins(
    kind: Annotated[
        str, typer.Argument(help=f"One of {', '.join(Kind)}. [default: all]", metavar="[KIND]", show_default=False)
    ] = "",
    as_json: Annotated[
        bool, typer.Option("--json", help="As JSON: kind, name, summary, settings with defaults, and facts.")
    ] = False,
    plugin: Plugin = [],  # noqa: B006
) -> None:
    """List the plugins: models, methods, smoothers, detectors, attacks, guides, suites and their ingredients."""
    from harness import plugins
    from harness.plugins import cache
    from harness.report.table import Table
    from harness.terminal import console

    if plugin:
        plugins.discover(*plugin)
    kinds = [Kind.named(kind)] if kind else [*Kind]
    listed = (catalogue() if plugin else cache.remembered("catalogue", catalogue))["listed"]
    chosen = [entry for name in kinds for entry in listed if entry["kind"] == name.value]
    chosen = [entry for entry in chosen if not entry["facts"].get("stand_in")]
    if as_json:
        console.out.print(json.dumps(chosen, indent=1, ensure_ascii=False), soft_wrap=True)
        return
    for name in kinds:
        rows = [[entry["name"], _described(entry)] for entry in chosen if entry["kind"] == name.value]
        heading = "what it trains" if name is Kind.recipes else "what it is"
        console.show(Table(name.value, ["name", heading], rows, multiline=True), least=True)


def _described(entry: Mapping[str, Any]) -> str:
    """The summary of a plugin, and below it its settings or the expected result."""
    inert = entry["facts"].get("inert", ())
    settings = ", ".join(
        f"{key}={WORDS.get((key, default), default)}" for key, default in entry["settings"].items() if key not in inert
    )
    expected = entry["facts"].get("expected", "") if entry["kind"] == Kind.recipes.value else ""
    more = [f"Settings: {settings}" if settings else "", f"Expected: {expected}" if expected else ""]
    return "\n".join(filter(None, [entry["summary"], *more]))


def catalogue() -> dict[str, Any]:
    """The plugins as JSON values. listed: those of `harness list`. modules: of the project's suites, by name."""
    from harness import plugins
    from harness.train import recipes

    plugins.discover()
    registries = {
        Kind.models: plugins.model, Kind.methods: plugins.method, Kind.smoothers: plugins.smoother,
        Kind.detectors: plugins.detector, Kind.attacks: plugins.attack, Kind.guides: plugins.guide,
        Kind.suites: plugins.suite, Kind.denoisers: plugins.denoiser, Kind.datasets: plugins.dataset,
        Kind.corruptions: plugins.corruption,
        Kind.architectures: plugins.architecture, Kind.augmentations: plugins.augmentation,
        Kind.distorters: plugins.distorter, Kind.figures: plugins.figure,
    }  # fmt: skip
    listed: list[dict[str, Any]] = []
    for kind, registry in registries.items():
        for entry in registry.entries():
            settings = dict(line.split("=", 1) for line in entry.settings.splitlines())
            listed.append(_listed(kind, entry.name, entry.summary, settings, entry.facts))
        for name, family in registry.families.items():
            listed.append(_listed(kind, name, family.summary, {}, family.facts))
    for recipe in map(recipes.load, recipes.names()):
        listed.append(_listed(Kind.recipes, recipe.name, recipe.about, {}, {"expected": recipe.expected}))
    modules = {entry.name: entry.build.__module__ for entry in plugins.suite.entries() if not entry.source}
    return {"listed": listed, "modules": modules}


def _listed(
    kind: Kind, name: str, summary: str, settings: Mapping[str, str], facts: Mapping[str, Any]
) -> dict[str, Any]:
    """A plugin as JSON values; of its facts those that are texts, numbers, or lists of these."""
    values = {key: list(value) if isinstance(value, tuple) else value for key, value in facts.items()}
    plain = {key: value for key, value in values.items() if _is_plain(value)}
    return {"kind": kind.value, "name": name, "summary": summary, "settings": dict(settings), "facts": plain}


def _is_plain(value: Any) -> bool:
    if isinstance(value, list):
        return all(_is_plain(each) for each in value)
    return value is None or isinstance(value, str | int | float | bool)
