"""Checks of plugins' corruptions before a run."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import torch
from torch import Tensor

from harness.data import Corrupted, corruptions
from harness.evaluation.job import Job, examples_of
from harness.models.probe import outputs, shown


def check_corruptions(job: Job) -> None:
    """Raise HarnessError for a plugin's corruption that fails, or that depends on chance or on other images.

    Each one is shown a few images at each of its severities. The 15 + 4 are held by tests.
    """
    foreign = [data for data in job.corrupted if data.corruption not in corruptions.STANDARD + corruptions.EXTRA]
    if not foreign:
        return
    images = shown(examples_of(foreign[0].clean).images)
    images = torch.cat([images, images.flip(-1)])  # a draw of another image may by chance look like the own one
    for data in foreign:
        outputs(_corrupted(data), images, f"Corruption {data.corruption!r} at severity {data.severity}", each=True)


def _corrupted(data: Corrupted) -> Callable[[Tensor], Tensor]:
    """The corruption of images (B, 3, H, W); an image's random numbers follow from it, whatever is beside it."""

    def corrupted(images: Tensor) -> Tensor:
        ids = [hashlib.sha256(image.numpy().tobytes()).hexdigest() for image in images]
        return corruptions.corrupt(images, data.corruption, data.severity, ids=ids, seed=data.seed)

    return corrupted
