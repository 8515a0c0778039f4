"""From a specification to a job: everything that it names is loaded, checked and shown a few images."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from harness.data.folder_contents import check_all_read
from harness.diffusion.denoiser import Denoiser
from harness.diffusion.lookup import check_side, conditioned, find_denoiser, note_side, trained_side
from harness.evaluation.job import Job
from harness.evaluation.preflight import checks, probing
from harness.evaluation.preflight.corruptions import check_corruptions
from harness.evaluation.preflight.pairing import belong, fitting, is_guided
from harness.evaluation.request import Request
from harness.models import matching
from harness.models.lookup import find_classifier
from harness.models.published.locate import WeightFiles
from harness.models.tiles import TileCache, TiledClassifier, Tiles, check_compiler, place
from harness.types import NO_CLASSIFIER, Dataset, Pair, RunSpec, Weights


def prepare(
    spec: RunSpec | Request, out: Path | str, *, skip_bad: bool = False, weight_files: WeightFiles | None = None
) -> Job:
    """Load what a specification names; every mistake in it is reported here, before any work is done.

    skip_bad: leave out images and files that cannot be read, instead of stopping; the records are partial.
    weight_files: places of published weights; without, the weights folder.
    Raises HarnessError for names, settings, data and weights that do not fit together, and for a network or method
    that fails on a few images.
    """
    request = spec if isinstance(spec, Request) else Request.of(spec)
    spec, suite = request.spec, _suite(request, weight_files)
    datasets = {c.name: checks.open_condition(suite, c, spec.seed) for c in suite.conditions()}
    for data in datasets.values() if not skip_bad else ():
        check_all_read(data)
    methods = {name: method.plugin for name, method in zip(spec.methods, request.methods, strict=True)}
    if spec.compile:
        check_compiler(spec.device)
    data = next(iter(datasets.values()))
    denoiser, denoiser_weights = _denoiser(request, data, weight_files) if spec.denoiser else (None, None)
    group = max([getattr(p, "group", 1) for p in methods.values()])
    if skip_bad:
        checks.check_skipping(group)
    cache = TileCache()
    tiles = Tiles(max(spec.tile // group, 1) * group, spec.device, spec.denoiser_dtype, multiple=group, cache=cache)
    classifier_tiles = Tiles(spec.tile, spec.device, spec.dtype, compiled=spec.compile, cache=cache)
    gradient_tiles = Tiles(spec.gradient_tile, spec.device, compiled=spec.compile, cache=cache)
    classifiers = {name: request.networks.get(name) or find_classifier(name, weight_files) for name in spec.models}
    matched = matching.match(datasets, {name: one for name, one in classifiers.items() if name != NO_CLASSIFIER})
    models: dict[str, Weights] = {}
    pairs: list[Pair] = []
    for name, (network, weights) in classifiers.items():
        models[name] = replace(weights, name=name)
        classifier = TiledClassifier(matched.networks.get(name, network), classifier_tiles, gradient_tiles)
        pairs += [Pair(name, m, classifier, p, models[name]) for m, p in methods.items() if belong(suite, name, m)]
    pairs = fitting(suite, pairs, denoiser)
    job = Job(
        spec, Path(out), suite, matched.datasets, pairs, models, denoiser, denoiser_weights, tiles, classifier_tiles,
        matched.notes, skip_bad=skip_bad, gradient_tiles=gradient_tiles,
    )  # fmt: skip
    checks.check_stride(job)
    checks.check_kept(job)
    check_corruptions(job)
    suite.check(list(methods.values()), denoiser)
    checks.check_denoiser(job)
    for pair in {pair.method_name: pair for pair in reversed(pairs)}.values():
        checks.check_method(job, pair)
    job = replace(job, probes=probing.probes(job))
    checks.check_records(job)
    return job


def _suite(request: Request, weight_files: WeightFiles | None) -> Any:
    """The suite, with the files of networks that its settings name; suites from elsewhere may lack the base."""
    suite: Any = request.suite.plugin
    return suite.using(weight_files) if hasattr(suite, "using") else suite


def _denoiser(request: Request, data: Dataset, weight_files: WeightFiles | None) -> tuple[Denoiser, Weights]:
    """The diffusion model on its device. Raises HarnessError for one of images of another size than the data's."""
    spec, side = request.spec, data.geometry.crop
    name = str(spec.denoiser)
    denoiser, weights = find_denoiser(name, weight_files)
    check_side(name, trained_side(weights), side)
    note_side(name, denoiser, side)
    suite = request.suite.plugin
    if denoiser.conditional and (is_guided(suite) or getattr(suite, "tells_class", False)):
        denoiser = conditioned(denoiser, name, weights, data, f"--denoiser {name}")
    place(denoiser.network, spec.device, spec.compile)
    return denoiser, weights
