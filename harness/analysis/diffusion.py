"""Features of a diffusion model by time: where a linear probe finds most of the classes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from harness.analysis.extracting import stored
from harness.analysis.record import ScoredTime
from harness.base import noise
from harness.diffusion.analysis.layer_features import layer_features
from harness.diffusion.denoiser import Denoiser
from harness.metrics.features.probes import cross_validated
from harness.metrics.intervals import of_mean
from harness.models.tiles import Tiles
from harness.types import Dataset, Metric, Stage, Weights

CONDITION = "cross-validated training images"
"""The images of the metric: those that a training may look at."""

Report = Callable[[Stage], None]


def probed_times(
    denoiser: Denoiser, weights: Weights, data: Dataset, times: Sequence[int], layer: str, tiles: Tiles, seed: int,
    report: Report,
) -> list[ScoredTime]:  # fmt: skip
    """The accuracy of a linear probe on a layer's pooled features at each time, by cross-validation over `data`.

    data: training images; the test images stay unseen. Raises HarnessError for a time or a layer that is not there.
    """
    denoiser.check_times(tuple(times))
    scores = []
    for number, time in enumerate(times):
        features = _features(denoiser, weights, data, time, layer, tiles, seed, report)
        right = cross_validated(features, data.labels.numpy(), seed)
        report(Stage("linear probes of times", number + 1, len(times), "probes"))
        metric = Metric("accuracy", CONDITION, float(right.mean()), of_mean(right), len(right), "fraction", True)
        scores.append(ScoredTime(time, metric))
    return scores


def best_time(scores: Sequence[ScoredTime]) -> int:
    """The time with the highest accuracy; of equal ones the smallest, which leaves most of the image."""
    return min(scores, key=lambda score: (-score.accuracy.value, score.time)).time


def _features(
    denoiser: Denoiser, weights: Weights, data: Dataset, time: int, layer: str, tiles: Tiles, seed: int, report: Report
) -> NDArray[np.float32]:
    """Features (n, C) at one time, under noise that is keyed by the sample and shared by all times."""

    def compute(images: Tensor, ids: Sequence[str]) -> Tensor:
        eps = noise.gaussian(images.shape[1:], purpose="probe-noise", seed=seed, samples=ids)
        t = torch.full((len(images),), time)
        return tiles(lambda *rows: layer_features(denoiser, layer, *rows), images, t, eps)

    mark = f"{layer} at {time} under seed {seed}"
    return stored(data, weights, tiles, mark, compute, f"{weights.name} at time {time}", report)
