"""From settings to requests, with defaults for all that the settings leave open."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from harness.api.machine import precisions, usable_device
from harness.api.weight_files import check_classes, fetch_missing
from harness.base.errors import Absent, HarnessError, Incompatible

if TYPE_CHECKING:
    from harness.evaluation.request import Networks, Request
    from harness.models.published.locate import WeightFiles
    from harness.plugins import Combined, Configured, Entry, Registry

Texts = Mapping[str, Sequence[str]]
"""Texts of the options that name methods, by kind of plugin."""

PATHS = ("data", "near", "far")
"""Settings of suites that are paths."""

SUITE, QUICK = "digits-c", 6
"""Without ``--suite``: the benchmark, and its stride."""

PER_SUITE = ("suite", "models", "methods", "denoiser", "every", "tile")
"""Fields of a specification with defaults that depend on the suite; all others are the same for every suite."""


def requests(
    settings: Mapping[str, Any],
    suite_settings: Mapping[str, Any],
    texts: Texts,
    full: bool,
    weight_files: WeightFiles,
    networks: Networks | None = None,
) -> Sequence[Request]:
    """The request of each suite, without repetitions.

    settings: options of `RunSpec`, by field. suite_settings: options that are short for a setting of a suite, None if
    not given. networks: classifiers that are objects, by the names that the settings give them.
    Raises HarnessError for an option that no suite takes, and for names that do not exist.
    """
    device = usable_device(settings["device"])
    common = {name: value for name, value in settings.items() if name not in PER_SUITE}
    common |= {"device": device, **precisions(settings["dtype"], settings["denoiser_dtype"], device)}
    every = settings["every"] or (1 if full else 0 if settings["suite"] else QUICK)
    suites = configured_suites(settings["suite"] or [SUITE], suite_settings)
    check_options(suites, texts)
    named = [name for name in settings["models"] if name not in (networks or {})]
    check_denoiser(suites, settings["denoiser"])
    if len(suites) == 1:
        for name in named:
            check_classes(name, str(suites[0].entry.facts.get("dataset", "")))
    check_networks(named, settings["denoiser"], weight_files)
    settings = {**settings, "models": canonical_models(settings["models"])}
    all_requests = [_request(suite, settings, texts, {**common, "every": every}, weight_files) for suite in suites]
    all_requests = [replace(request, networks=networks or {}) for request in all_requests]
    return list({request.spec: request for request in all_requests}.values())


def configured_suites(texts: Sequence[str], settings: Mapping[str, Any]) -> Sequence[Configured]:
    """The suites with the options that are short for a setting; each option must mean something to one of them."""
    from harness import plugins

    for key, value in settings.items():
        if value is None or value == []:
            continue
        if key in PATHS:
            check_paths(key, value)
        value = ",".join(map(str, value)) if isinstance(value, list) else value
        takers = [text for text in texts if key in plugins.suite.of(text).parameters]
        if not takers:
            owners = [entry.name for entry in plugins.suite.entries() if key in entry.parameters]
            raise HarnessError(
                f"--{key}: {', '.join(texts)} has no such setting. Suites that have it: {', '.join(owners)}."
            )
        texts = [f"{text}{',' if ':' in text else ':'}{key}={value}" if text in takers else text for text in texts]
    return [plugins.suite.configure(text) for text in texts]


def check_paths(key: str, value: object) -> None:
    """Raise HarnessError for a path, or one of a list, that cannot be written among settings. key: of the setting."""
    from harness.plugins.settings import is_one_value

    for path in value if isinstance(value, list) else [value]:
        if not is_one_value(str(path)) or (isinstance(value, list) and "," in str(path)):
            raise HarnessError(
                f"--{key} {path}: a comma in a path would begin another setting or folder. Rename the folder, or make "
                "a link to it."
            )


def check_options(suites: Sequence[Configured], texts: Texts) -> None:
    """Raise HarnessError for an option that names a kind of method that none of the suites takes."""
    from harness import plugins

    accepted = {registry.kind for suite in suites for registry in plugins.AXES[suite.plugin.axis].registries}
    options = {registry.kind: registry.option for axis in plugins.AXES.values() for registry in axis.registries}
    for kind, methods in texts.items():
        if methods and kind not in accepted:
            takes = " and ".join(sorted(options[name] for name in accepted))
            names = ", ".join(suite.text for suite in suites)
            raise HarnessError(f"{options[kind]} {methods[0]}: {names} takes {takes}. See: harness list.")


def check_networks(models: Sequence[str], denoiser: str | None, weight_files: WeightFiles) -> None:
    """Raise HarnessError for names of models and of a diffusion model that do not exist, and fetch published ones."""
    from harness import plugins
    from harness.models.lookup import check_name

    for model in models:
        check_name(model, plugins.model)
    if denoiser:
        check_name(denoiser, plugins.denoiser)
    fetch_missing([*models, denoiser or ""], weight_files)


def stated_models(models: Sequence[str], options: Mapping[str, str | None]) -> list[str]:
    """Texts of models with the options that are short for a setting; each option must mean something to one of them.

    Files take all of them, libraries' models all but the architecture; a model's own text counts. options: None if not
    given.
    """
    from harness import plugins
    from harness.models.external.text import ModelText
    from harness.models.lookup import is_path

    stated = {name: value for name, value in options.items() if value is not None}
    texts = {text: ModelText.of(text) for text in models} if stated else {}
    files = [text for text, model in texts.items() if is_path(model.name, plugins.model)]
    others = [text for text, model in texts.items() if model.name.partition(":")[0] not in plugins.model]
    for name, value in stated.items():
        takers = files if name == "architecture" else others
        if not takers:
            raise HarnessError(
                f"--{name.replace('_', '-')} {value}: it is for a file, --model my.pt"
                + ("." if name == "architecture" else ", or a library's model, such as --model timm/resnet50.")
                + f" --model: {', '.join(models) or 'none'}."
            )
        texts |= {text: texts[text].with_defaults({name: value}) for text in takers}
    return [str(texts[text]) if text in texts else text for text in models]


def canonical_models(models: Sequence[str]) -> list[str]:
    """Texts of models as records hold them: see `harness.models.lookup.canonical`."""
    from harness.models.lookup import canonical

    return [canonical(model) for model in models]


def check_denoiser(suites: Sequence[Configured], denoiser: str | None) -> None:
    """Raise HarnessError, before data are opened, for a diffusion model of images of another size than the suites'."""
    from harness import plugins
    from harness.diffusion.lookup import check_side, stated_side

    for suite in suites if denoiser else ():
        entry = plugins.dataset.get(suite.plugin.dataset)
        side = getattr(suite.plugin, "image_size", entry.facts.get("image_size") if entry else None)
        if side:
            check_side(str(denoiser), stated_side(str(denoiser)), side)


def _request(
    suite: Configured,
    settings: Mapping[str, Any],
    texts: Texts,
    common: Mapping[str, Any],
    weight_files: WeightFiles,
) -> Request:
    """The request for one suite: the options, and the suite's defaults for all that they leave open."""
    from harness import plugins
    from harness.evaluation.preflight.pairing import asks, is_guided, with_no_classifier
    from harness.evaluation.request import Request
    from harness.types import RunSpec

    bench = suite.plugin
    data = bench.open(bench.conditions()[0], common["seed"])
    methods = plugins.AXES[bench.axis].select(texts, bench.methods)
    if not settings["denoiser"] and not any(texts.values()) and not bench.diffuses:
        methods = _without_denoiser(suite, methods, weight_files)
    methods = list({method.text: method for method in methods}.values())
    names = [method.text for method in methods]
    asked = any(asks(bench, name) for name in names)
    models = settings["models"] or (_usual_models(suite, weight_files) if asked else [])
    if is_guided(bench) and settings["denoiser_dtype"] == "auto":  # small gradients vanish in float16
        common = {**common, "denoiser_dtype": common["dtype"]}
    needs_denoiser = bench.diffuses or any(method.entry.facts.get("denoiser") for method in methods)
    spec = RunSpec(
        suite=suite.text,
        models=tuple(with_no_classifier(bench, models, names)),
        methods=tuple(names),
        denoiser=(settings["denoiser"] or bench.denoiser) if needs_denoiser else None,
        tile=settings["tile"] or (100 if data.geometry.crop <= 64 else 16),
        **{**common, "every": common["every"] or bench.every},
    )
    return Request(spec, suite, methods)


def _without_denoiser(suite: Configured, methods: list[Configured], weight_files: WeightFiles) -> list[Configured]:
    """A suite's usual methods, but for those whose diffusion model is not here; HarnessError if none is left."""
    from harness import plugins
    from harness.terminal import console

    denoiser = suite.plugin.denoiser
    left_out, lacks = lacking_denoiser(denoiser, methods, weight_files)
    if not left_out:
        return methods
    names = ", ".join(method.text for method in left_out)
    reason = (
        f"the diffusion model {denoiser} ({lacks}) is not here. What to put where: harness weights list. "
        "Another one: --denoiser."
    )
    usable = [method for method in methods if method not in left_out]
    if not usable:
        axis = plugins.AXES[suite.plugin.axis]
        raise Absent(f"{suite.text}: {names}: {reason} Without one: {axis.option} {_undiffused(axis)}.")
    console.err.print(f"{suite.text}: left out {names}: {reason}", markup=False)
    return usable


def lacking_denoiser(
    denoiser: str | None, methods: Sequence[Configured], weight_files: WeightFiles
) -> tuple[list[Configured], str]:
    """The methods whose diffusion model is not here, and the name of the file that it lacks."""
    from harness import plugins

    lacks = _lacks(plugins.denoiser[denoiser], weight_files) if denoiser and denoiser in plugins.denoiser else ""
    return [method for method in methods if lacks and method.entry.facts.get("denoiser")], lacks


def _undiffused(axis: Registry | Combined) -> str:
    """Name of the first plugin that needs no diffusion model."""
    return next(entry.name for entry in axis.entries() if not entry.facts.get("denoiser"))


def _usual_models(suite: Configured, weight_files: WeightFiles) -> list[str]:
    """The default models of a suite, else those of its data set on plain images; those whose weights are here."""
    from harness import plugins
    from harness.terminal import console

    name, dataset = suite.text, suite.plugin.dataset
    candidates = [e for e in plugins.model.entries() if e.source or e.facts.get("dataset") == dataset]
    candidates = [e for e in candidates if not e.facts.get("noisy")]
    candidates = [plugins.model[text] for text in getattr(suite.plugin, "models", ())] or candidates
    if not candidates:
        raise Incompatible(f"No model is registered for {dataset!r}, the data of {name!r}. Name one with --model.")
    lacks = {entry.name: _lacks(entry, weight_files) for entry in candidates}
    lacking = ", ".join(f"{model} ({file})" for model, file in lacks.items() if file)
    remedy = "What to put where: harness weights list."
    models = [model for model, file in lacks.items() if not file]
    if not models:
        raise Absent(f"{name!r}: the weights of its models are not here: {lacking}. {remedy}")
    if lacking:
        console.err.print(f"{name}: left out, since weights are missing: {lacking}. {remedy}", markup=False)
    return models


def _lacks(entry: Entry, weight_files: WeightFiles) -> str:
    """Name of the file that a plugin's published weights lack; empty if it is here, or if none is published."""
    published = entry.facts.get("published")
    return published.lacks(weight_files) if published else ""
