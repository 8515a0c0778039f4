"""What a run will cost, before it is run: counts from the methods, seconds from a short measurement."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from harness import noise
from harness.diffusion.adaptation import guided_step
from harness.job import Job
from harness.types import Adaptation


@dataclass(frozen=True)
class Estimate:
    """Counts are of single images. `missing` leaves out what is already on disk; seconds are for the missing part.

    at_most: calls and seconds are upper limits.
    """

    conditions: int
    images: int
    missing: int
    classifier_calls: int
    denoiser_calls: int
    seconds: float
    at_most: bool


def estimate(job: Job, shard: tuple[int, int] = (0, 1)) -> Estimate:
    """Counts exactly, times one tile per network. All pairs of a part are taken to be missing together."""
    mine: Sequence = job.parts[shard[0] :: shard[1]]
    images = sum(len(p.indices) for p in mine)
    unfinished = [journal for journal in job.journals if not journal.done()]
    todo = [len(p.indices) for p in mine if any(not journal.has(p) for journal in unfinished)]
    missing = sum(todo)
    needs = job.tally(job.pairs)
    models = {pair.model: pair.classifier for pair in job.pairs}
    size = job.tiles.size
    picked = [i % len(job.data.ids) for i in range(size)]
    batch = job.data.read(picked)
    # A clone, because a classifier remembers the views it has seen.
    one_view = sum(_seconds(lambda network: network(batch.images.clone()), network) for network in models.values())
    per_image = one_view * needs.classified / size
    if job.denoiser and needs.denoiser:
        denoiser, t = job.denoiser, torch.full((size,), 1)
        eps = noise.gaussian(batch.images.shape[1:], seed=0, purpose="estimate", samples=batch.ids)
        forward = _seconds(job.tiles, denoiser.predict_x0, batch.images, t) if needs.denoised else 0.0
        schedule, settings = denoiser.schedule, Adaptation()

        def step(x: torch.Tensor, e: torch.Tensor) -> torch.Tensor:
            return guided_step(denoiser, schedule, x, 1, x, settings, e, torch.ones(len(x), device=x.device))

        guided = _seconds(job.tiles, step, batch.images, eps) if needs.guided else 0.0
        per_image += (forward * needs.denoised + guided * needs.guided) / size
    read = job.datasets[mine[0].condition.name] if mine else job.data
    per_image += _seconds(read.read, picked) / size
    return Estimate(
        conditions=len(job.suite.conditions()),
        images=images,
        missing=missing,
        classifier_calls=missing * needs.classified * len(models),
        denoiser_calls=missing * needs.denoiser,
        # Tiles are padded, so a part costs as much as the whole tiles that hold it.
        seconds=sum(-(-n * needs.together // size) * size for n in todo) / needs.together * per_image,
        at_most=needs.at_most,
    )


def _seconds(function: Callable[..., object], *arguments: object) -> float:
    """Seconds of the second call: the first one warms up."""
    function(*arguments)
    start = time.perf_counter()
    function(*arguments)
    return time.perf_counter() - start
