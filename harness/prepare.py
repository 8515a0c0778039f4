"""From a specification to a job: everything that it names is loaded, checked and shown a few images."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from harness import checks, matching, plugins, weights
from harness.job import Job
from harness.networks import TileCache, TiledClassifier, Tiles, check_compiler, place
from harness.types import Pair, RunSpec


def prepare(spec: RunSpec, out: Path | str) -> Job:
    """Load what a specification names; every mistake in it is reported here, before any work is done."""
    _, suite = plugins.suite.configure(spec.suite)
    datasets = {c.name: checks.open_condition(suite, c, spec.seed) for c in suite.conditions()}
    procedures = {name: plugins.AXES[suite.axis].configure(name)[1] for name in spec.methods}
    if spec.compile:
        check_compiler(spec.device)
    denoiser, denoiser_weights = weights.find_denoiser(spec.denoiser) if spec.denoiser else (None, None)
    if denoiser:
        place(denoiser.network, spec.device, spec.compile)
    group = max([getattr(p, "group", 1) for p in procedures.values()])
    cache = TileCache()
    tiles = Tiles(max(spec.tile // group, 1) * group, spec.device, spec.denoiser_dtype, multiple=group, cache=cache)
    classifier_tiles = Tiles(spec.tile, spec.device, spec.dtype, compiled=spec.compile, cache=cache)
    gradient_tiles = Tiles(spec.gradient_tile, spec.device, compiled=spec.compile, cache=cache)
    found = {name: weights.find_classifier(name) for name in spec.models}
    matched = matching.match(datasets, found)
    models, pairs = {}, []
    for name, network in matched.networks.items():
        models[name] = replace(found[name][1], name=name)
        classifier = TiledClassifier(network, classifier_tiles, gradient_tiles)
        pairs += [Pair(name, method, classifier, p, models[name]) for method, p in procedures.items()]
    job = Job(
        spec, Path(out), suite, matched.datasets, pairs, models, denoiser, denoiser_weights, tiles, classifier_tiles,
        matched.notes, gradient_tiles=gradient_tiles,
    )  # fmt: skip
    suite.check(list(procedures.values()), denoiser)
    checks.check_denoiser(job)
    for pair in pairs[: len(procedures)]:
        checks.check_method(job, pair)
    return replace(job, probes=checks.probes(job))
