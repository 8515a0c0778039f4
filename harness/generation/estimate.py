"""Cost of a generation: network calls, counted on stand-in networks, and seconds, from two steps timed here."""

from __future__ import annotations

import torch

from harness.diffusion.denoiser import Denoiser
from harness.diffusion.guided import trajectory
from harness.diffusion.guided_calls import ClassifierStandIn, GuidedCalls, StandIn, counted
from harness.generation.job import Generation

SMALLEST = 64
"""Side in pixels of the images that stand-ins see at most: counts do not depend on it."""


def tally(job: Generation) -> GuidedCalls:
    """Network calls of one sample: its whole trajectory, through stand-ins for the networks."""
    side = min(job.side, SMALLEST)
    x = torch.zeros(1, 3, side, side)
    channels = 6 if _learns_variance(job) else 3
    config = getattr(job.denoiser.network, "config", {})
    denoising = StandIn(lambda images: images.repeat(1, channels // 3, 1, 1), config, job.denoiser.conditional)
    denoised = getattr(job.network, "denoised", False)
    network = ClassifierStandIn(len(job.names), denoised) if job.network is not None else None
    denoiser = Denoiser(denoising, job.denoiser.schedule, job.denoiser.null_label)
    for _ in trajectory(denoiser, job.guide, network, x, job.labels[:1], job.spec.sampling, lambda step: x):
        pass
    return counted(denoising, network)


def _learns_variance(job: Generation) -> bool:
    """True if the denoiser gives a variance channel, seen on one sample."""
    x, index = torch.zeros(1, *job.shape, device=job.spec.device), torch.zeros(1, dtype=torch.int64)
    labels = job.labels[:1] if job.denoiser.conditional else None
    with torch.no_grad():
        where = [None if each is None else each.to(job.spec.device) for each in (index, labels)]
        return job.denoiser.predict_noise(x, where[0], labels=where[1])[1] is not None  # type: ignore[arg-type]


def seconds(job: Generation, samples: int) -> float:
    """Seconds of so many samples on this machine."""
    return -(-samples // job.tiles.size) * job.sampler.seconds(len(job.names))
