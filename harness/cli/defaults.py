"""From the options of ``harness run`` to requests, with defaults for all that the options leave open."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from harness.base.errors import HarnessError
from harness.cli.options import precisions, usable_device
from harness.cli.weights import fetch

if TYPE_CHECKING:
    from harness.evaluation.request import Request
    from harness.models.locate import WeightFiles
    from harness.plugins import Combined, Configured, Entry, Registry

Texts = Mapping[str, Sequence[str]]
"""Texts of the options that name methods, by kind of plugin."""

SUITE, QUICK = "digits-c", 6
"""Without ``--suite``: the benchmark, and its stride."""

PER_SUITE = ("suite", "models", "methods", "denoiser", "every", "tile")
"""Fields of a specification with defaults that depend on the suite; all others are the same for every suite."""


def requests(
    given: Mapping[str, Any],
    suite_settings: Mapping[str, Any],
    texts: Texts,
    full: bool,
    weight_files: WeightFiles,
) -> Sequence[Request]:
    """The request of each suite, without repetitions.

    given: options of `RunSpec`, by field. suite_settings: options that are short for a setting of a suite, None where
    not given. Raises HarnessError for an option that no suite takes, and for names that do not exist.
    """
    device = usable_device(given["device"])
    common = {name: value for name, value in given.items() if name not in PER_SUITE}
    common |= {"device": device, **precisions(given["dtype"], given["denoiser_dtype"], device)}
    every = given["every"] or (1 if full else 0 if given["suite"] else QUICK)
    suites = configured_suites(given["suite"] or [SUITE], suite_settings)
    check_options(suites, texts)
    check_networks(given["models"], given["denoiser"], weight_files)
    made = [_request(suite, given, texts, {**common, "every": every}, weight_files) for suite in suites]
    return list({request.spec: request for request in made}.values())


def configured_suites(texts: Sequence[str], settings: Mapping[str, Any]) -> Sequence[Configured]:
    """The suites with the options that are short for a setting; each option must mean something to one of them."""
    from harness import plugins

    for key, value in settings.items():
        if value is None:
            continue
        takers = [text for text in texts if key in plugins.suite.of(text).parameters]
        if not takers:
            raise HarnessError(f"--{key}: {', '.join(texts)} has no such setting.")
        texts = [f"{text}{',' if ':' in text else ':'}{key}={value}" if text in takers else text for text in texts]
    return [plugins.suite.configure(text) for text in texts]


def check_options(suites: Sequence[Configured], texts: Texts) -> None:
    """Raise HarnessError for an option that names a kind of method that none of the suites takes."""
    from harness import plugins

    taken = {registry.kind for suite in suites for registry in plugins.AXES[suite.plugin.axis].registries}
    options = {registry.kind: registry.option for axis in plugins.AXES.values() for registry in axis.registries}
    for kind, given in texts.items():
        if given and kind not in taken:
            takes = " and ".join(sorted(options[name] for name in taken))
            names = ", ".join(suite.text for suite in suites)
            raise HarnessError(f"{options[kind]} {given[0]}: {names} takes {takes}. See: harness list.")


def check_networks(models: Sequence[str], denoiser: str | None, weight_files: WeightFiles) -> None:
    """Raise HarnessError for names of models and of a diffusion model that do not exist, and fetch published ones."""
    from harness import plugins
    from harness.models.lookup import check_name

    for model in models:
        check_name(model, plugins.model)
    if denoiser:
        check_name(denoiser, plugins.denoiser)
    fetch([*models, denoiser or ""], weight_files)


def _request(
    suite: Configured,
    given: Mapping[str, Any],
    texts: Texts,
    common: Mapping[str, Any],
    weight_files: WeightFiles,
) -> Request:
    """The request for one suite: what the options give, and the suite's defaults for all else."""
    from harness import plugins
    from harness.evaluation.request import Request
    from harness.types import RunSpec

    bench = suite.plugin
    data = bench.open(bench.conditions()[0], common["seed"])
    models = given["models"] or _usual_models(suite, weight_files)
    methods = plugins.AXES[bench.axis].select(texts, bench.methods)
    if not given["denoiser"] and not any(texts.values()) and not bench.diffuses:
        methods = _without_denoiser(suite, methods, weight_files)
    methods = list({method.text: method for method in methods}.values())
    needs_denoiser = bench.diffuses or any(method.entry.facts.get("denoiser") for method in methods)
    spec = RunSpec(
        suite=suite.text,
        models=tuple(dict.fromkeys(models)),
        methods=tuple(method.text for method in methods),
        denoiser=(given["denoiser"] or bench.denoiser) if needs_denoiser else None,
        tile=given["tile"] or (100 if data.geometry.crop <= 64 else 16),
        **{**common, "every": common["every"] or bench.every},
    )
    return Request(spec, suite, methods)


def _without_denoiser(suite: Configured, methods: list[Configured], weight_files: WeightFiles) -> list[Configured]:
    """A suite's usual methods, but for those whose diffusion model is not here; HarnessError if none is left."""
    from harness import plugins
    from harness.cli import console

    denoiser = suite.plugin.denoiser
    lacks = _lacks(plugins.denoiser[denoiser], weight_files) if denoiser else ""
    left_out = [method for method in methods if lacks and method.entry.facts.get("denoiser")]
    if not left_out:
        return methods
    names = ", ".join(method.text for method in left_out)
    reason = (
        f"the diffusion model {denoiser} ({lacks}) is not here. What to put where: harness weights list. "
        "Another one: --denoiser."
    )
    rest = [method for method in methods if method not in left_out]
    if not rest:
        axis = plugins.AXES[suite.plugin.axis]
        raise HarnessError(f"{suite.text}: {names}: {reason} Without one: {axis.option} {_undiffused(axis)}.")
    console.err.print(f"{suite.text}: left out {names}: {reason}", markup=False)
    return rest


def _undiffused(axis: Registry | Combined) -> str:
    """The first plugin that needs no diffusion model."""
    return next(entry.name for entry in axis.entries() if not entry.facts.get("denoiser"))


def _usual_models(suite: Configured, weight_files: WeightFiles) -> list[str]:
    """The models that a suite takes where none is named: those of its data set whose weights are here."""
    from harness import plugins
    from harness.cli import console

    name, dataset = suite.text, suite.plugin.dataset
    usual = [e for e in plugins.model.entries() if e.source or e.facts.get("dataset") == dataset]
    if not usual:
        raise HarnessError(f"No model is registered for {dataset!r}, the data of {name!r}. Name one with --model.")
    lacks = {entry.name: _lacks(entry, weight_files) for entry in usual}
    lacking = ", ".join(f"{model} ({file})" for model, file in lacks.items() if file)
    remedy = "What to put where: harness weights list."
    models = [model for model, file in lacks.items() if not file]
    if not models:
        raise HarnessError(f"{name!r}: the weights of its models are not here: {lacking}. {remedy}")
    if lacking:
        console.err.print(f"{name}: left out for want of weights: {lacking}. {remedy}", markup=False)
    return models


def _lacks(entry: Entry, weight_files: WeightFiles) -> str:
    """Name of the file that a plugin's published weights lack; empty if it is here, or if none is published."""
    published = entry.facts.get("published")
    return published.lacks(weight_files) if published else ""
