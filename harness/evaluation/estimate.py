"""Cost of a run, estimated beforehand: counts from the methods, seconds from a short measurement."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch

from harness import plugins
from harness.base import noise
from harness.diffusion.adaptation import guided_step
from harness.diffusion.denoiser import Denoiser
from harness.diffusion.guided_sampler import GuidedSampler
from harness.evaluation.job import Job
from harness.evaluation.launch.claims import WHOLE, Claims
from harness.evaluation.records.parts import Part
from harness.evaluation.views.batch import BatchViews
from harness.models.tiles import TiledClassifier
from harness.types import NO_CLASSIFIER, Adaptation, Batch, Calls, Pair

BACKWARD = 2
"""Forward passes that a backward pass takes the time of: gradients by all activations, and the pass once more."""


@dataclass(frozen=True)
class Estimate:
    """Counts of single images. `missing` excludes what is already on disk; seconds are for the missing images.

    at_most: calls and seconds are upper limits. Gradients are backward passes, beside the calls. judge_calls: of the
    networks that judge images, or give features to compare.
    """

    conditions: int
    images: int
    missing: int
    classifier_calls: int
    denoiser_calls: int
    seconds: float
    at_most: bool
    classifier_gradients: int = 0
    denoiser_gradients: int = 0
    judge_calls: int = 0


def estimate(job: Job, claims: Claims = WHOLE) -> Estimate:
    """Count the calls exactly, and time one tile per network. A part that one pair lacks is computed for all of them.

    claims: which parts this process may compute.
    """
    parts = claims.candidates(job.parts)
    unfinished = [journal for journal in job.journals if not journal.done(job.required)]
    missing = [len(p.indices) for p in parts if any(not journal.has(p, job.required) for journal in unfinished)]
    calls = job.tally(job.pairs)
    models = {pair.model: pair.classifier for pair in job.pairs if pair.model != NO_CLASSIFIER}
    # An attack makes its own images for each classifier, which share no denoising.
    apart = len(models) if plugins.attack in job.axis.registries else 1
    seconds = _attacks(job, parts) if hasattr(job.suite, "attack_seconds") else _passes(job, parts, missing)
    rows = sum(missing) * (1 if job.generates else len(models))
    return Estimate(
        conditions=len(job.suite.conditions()),
        images=sum(len(part.indices) for part in parts),
        missing=sum(missing),
        classifier_calls=rows * calls.classified,
        denoiser_calls=sum(missing) * calls.denoiser * apart,
        seconds=seconds,
        at_most=calls.at_most,
        classifier_gradients=rows * calls.classifier_gradients,
        denoiser_gradients=sum(missing) * calls.denoiser_gradients * apart,
        judge_calls=rows * calls.judged,
    )


def _passes(job: Job, parts: Sequence[Part], missing: Sequence[int]) -> float:
    """Seconds of all networks, from a tile of each. missing: images of each missing part."""
    size, calls = job.tiles.size, job.tally(job.pairs)
    positions = [position % len(job.data.ids) for position in range(size)]
    batch = job.data.read(positions)
    models = {pair.model: pair.classifier for pair in job.pairs if pair.model != NO_CLASSIFIER}
    # A clone, because a classifier remembers the views it has seen.
    one_view = sum(seconds_of(lambda network: network(batch.images.clone()), network) for network in models.values())
    a_tile = one_view * calls.classified
    if job.denoiser and job.generates:
        a_tile = sum(_guiding(job, job.denoiser, pair) for pair in job.pairs)
    elif job.denoiser and calls.denoiser:
        a_tile += _denoising(job, job.denoiser, calls, batch)
    data = job.datasets[parts[0].condition.name] if parts else job.data
    a_tile += seconds_of(data.read, positions)
    # Tiles are padded, so a part costs as much as the whole tiles that hold it.
    return sum(-(-n * calls.together // size) for n in missing) / calls.together * a_tile


def _attacks(job: Job, parts: Sequence[Part]) -> float:
    """Seconds of all attacks on every image, and of the flags, measured by the suite on each row that is unfinished."""
    suite: Any = job.suite
    size, total = job.gradient_tiles.size, 0.0

    def look(batch: Batch) -> BatchViews:
        return BatchViews(batch, job.denoiser, job.tiles, job.spec.seed)

    for pair, journal in zip(job.pairs, job.journals, strict=True):
        missing = [len(part.indices) for part in parts if not journal.has(part, job.required)]
        if missing and not journal.done(job.required):
            per_image, once = suite.attack_seconds(pair, look)
            # Tiles are padded, also where few images are left of a part.
            total += sum(-(-images // size) * size for images in missing) * per_image + once
    return total


def _denoising(job: Job, denoiser: Denoiser, calls: Calls, batch: Batch) -> float:
    """Seconds of the denoiser calls for a tile of images."""
    t = torch.full((len(batch),), 1)
    eps = noise.gaussian(batch.images.shape[1:], seed=0, purpose="estimate", samples=batch.ids)
    settings = Adaptation()

    def step(x: torch.Tensor, e: torch.Tensor) -> torch.Tensor:
        return guided_step(denoiser, denoiser.schedule, x, 1, x, settings, e, torch.ones(len(x), device=x.device))

    forward = (
        seconds_of(job.tiles, denoiser.predict_x0, batch.images, t) if calls.denoised or calls.differentiated else 0.0
    )
    guided = seconds_of(job.tiles, step, batch.images, eps) if calls.guided else 0.0
    return forward * (calls.denoised + BACKWARD * calls.differentiated) + guided * calls.guided


def _guiding(job: Job, denoiser: Denoiser, pair: Pair) -> float:
    """Seconds of all steps of a tile under a guide."""
    network = None if pair.model == NO_CLASSIFIER else cast(TiledClassifier, pair.classifier).network
    settings = cast(Any, job.suite).sampling
    sampler = GuidedSampler(denoiser, pair.method, network, settings, job.example.shape[1:], job.spec.seed, job.tiles)
    return sampler.seconds(job.data.num_classes)


def seconds_of(function: Callable[..., object], *arguments: object) -> float:
    """Seconds of the second call: the first one warms up."""
    function(*arguments)
    start = time.perf_counter()
    function(*arguments)
    return time.perf_counter() - start
