"""Memory that a scoring takes, estimated before any feature is computed."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence

from harness.base.errors import HarnessError, Notice
from harness.metrics.generation.scores import FRECHET

STORED, COPIED = 4, 8
"""Bytes of a feature in float32, as it is kept, and in float64, as metrics of neighbours and kernels copy it."""

STREAMED = (*FRECHET, "inception_score")
"""Metrics that read features row by row, without a copy of all."""

TOLD = 4 * 2**30
"""Bytes from which on the user is told the estimate."""


def estimated(images: int, copied: int, dimension: int, metrics: Sequence[str]) -> int:
    """Bytes of the features of so many images, all sets together, and of their copies.

    copied: images of samples and reference, which some metrics copy. dimension: numbers per image.
    """
    copies = COPIED * copied if set(metrics) - set(STREAMED) else 0
    return dimension * (STORED * images + copies)


def check_memory(sizes: Sequence[int], floor: int, dimension: int, metrics: Sequence[str], extractor: str) -> None:
    """Raise HarnessError where a scoring would take more than the machine's memory; tell the user of a large part.

    sizes: images of samples and reference. floor: images of the floor. metrics: names. extractor: for the message.
    """
    images = sum(sizes) + floor
    needed, memory = estimated(images, sum(sizes), dimension, metrics), machine_memory()
    if needed < TOLD:
        return
    message = (
        f"The {dimension:,} features by {extractor} of {images:,} images take about {needed / 1e9:,.0f} GB of memory, "
        f"copies included"
    )
    if memory and needed > memory:
        remedies = "Compare with fewer images: --split, or a REFERENCE folder or archive"
        if set(metrics) - set(STREAMED):
            remedies += f"; or name metrics that copy no feature: {', '.join(f'--metric {name}' for name in FRECHET)}"
        raise HarnessError(f"{message}; this machine has {memory / 1e9:,.0f} GB. {remedies}.")
    warnings.warn(Notice(f"{message}."), stacklevel=2)


def machine_memory() -> int:
    """Bytes of the machine's memory; 0 where the system does not say."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError, AttributeError):
        return 0
