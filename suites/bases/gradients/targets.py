"""Directions that a gradient of log p(y) at x_t should have, one per image: the score-based target.

It is the conditional minus the unconditional score of x_t, which is the gradient of log p(y | x_t) of the data, and
comes from Gaussian classes in closed form or from a conditional denoiser trained with label dropout.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from harness.diffusion.analysis.gaussian_classes import GaussianClasses
from harness.diffusion.denoiser import Denoiser
from harness.models.tiles import Tiles
from harness.types import Dataset, DiffusedViews, HarnessError, Stage

PIECE = 1_000
"""Training images that are read at once for the means of the classes."""

LARGEST = 4096
"""Numbers per image up to which Gaussian classes are a fair model, and quick: 3 x 36 x 36 pixels."""


class ScoreTarget(Protocol):
    """Score-based targets of the images of a batch."""

    def __call__(self, views: DiffusedViews, labels: Tensor) -> Any:
        """Targets (B, 3, H, W), each up to a positive factor. labels: (B,) int64, classes to point towards."""


@dataclass(frozen=True, eq=False)
class GaussianTarget:
    """The target in closed form. Each image has its own products of one shape: no bit depends on the batch."""

    classes: GaussianClasses

    def __call__(self, views: DiffusedViews, labels: Tensor) -> Any:
        rows = views.noisy.double().flatten(1).numpy()
        settings = zip(rows, views.alpha_bar.tolist(), labels.tolist(), strict=True)
        return np.stack([self.classes.direction(*row) for row in settings]).reshape(views.noisy.shape)


@dataclass(frozen=True, eq=False)
class DenoiserTarget:
    """(eps_u - eps_c) / sqrt(1 - abar) of a conditional denoiser (Ho & Salimans, 2022)."""

    denoiser: Denoiser
    tiles: Tiles

    def __call__(self, views: DiffusedViews, labels: Tensor) -> Any:
        difference = self.tiles(self._difference, views.noisy, views.times, labels).double()
        return (difference / (1 - views.alpha_bar).sqrt()[:, None, None, None]).numpy()

    def _difference(self, x_t: Tensor, t: Tensor, labels: Tensor) -> Tensor:
        unconditional, _ = self.denoiser.predict_noise(x_t, t)
        return unconditional - self.denoiser.predict_noise(x_t, t, labels=labels)[0]


def gaussian_target(training: Dataset) -> GaussianTarget:
    """The target of training images; raises HarnessError for large ones."""
    first = training.read([0]).images[0]
    if first.numel() > LARGEST:
        raise HarnessError(
            f"target=gaussian models every pixel of an image, and {'x'.join(map(str, first.shape))} are more than "
            f"{LARGEST:,} numbers. Name a conditional denoiser: target=denoiser:NAME."
        )
    batch = training.read(range(len(training.ids)))
    return GaussianTarget(GaussianClasses.fit((batch.images * 2 - 1).double(), batch.labels, training.num_classes))


def class_means(training: Dataset, report: Callable[[Stage], None] = lambda stage: None) -> NDArray[np.float64]:
    """Means (K, 3, H, W) of the training images of each class, in [-1, 1]. No more than `PIECE` images are in memory.

    report: called with the progress. Raises HarnessError for a class without images.
    """
    total, sums = len(training.ids), np.zeros((training.num_classes, *training.read([0]).images.shape[1:]))
    counts = np.zeros(training.num_classes, dtype=np.int64)
    for start in range(0, total, PIECE):
        report(Stage("training images", start, total))
        batch = training.read(range(start, min(start + PIECE, total)))
        for image, label in zip(batch.images.double().numpy() * 2 - 1, batch.labels.tolist(), strict=True):
            if label >= 0:
                sums[label] += image
                counts[label] += 1
    report(Stage("training images", total, total))
    if not counts.all():
        raise HarnessError(f"{training.name} has no training image of class {int(counts.argmin())}: it has no mean.")
    return np.asarray(sums / counts[:, None, None, None])


def check_target(name: str, denoiser: Denoiser, own: Denoiser, classes: int) -> None:
    """Raise HarnessError for a denoiser that gives no target. own: the run's. classes: number of the data's classes."""
    if not denoiser.conditional or denoiser.null_label is None:
        raise HarnessError(
            f"target=denoiser:{name} must predict with a class and without: train one with harness train "
            "--architecture unet-conditional --label-dropout 0.1, or take target=gaussian."
        )
    if denoiser.null_label != classes:
        raise HarnessError(f"target=denoiser:{name} knows {denoiser.null_label} classes, and the data have {classes}.")
    one, other = denoiser.schedule.alpha_bar, own.schedule.alpha_bar
    if one.shape != other.shape or not np.allclose(one, other, rtol=1e-6):
        raise HarnessError(
            f"target=denoiser:{name} has another noise schedule than the run's denoiser: at one time their images have "
            "different noise. Name a --denoiser of the same schedule."
        )


def wrong_classes(labels: Tensor, classes: int, offsets: Tensor) -> Tensor:
    """A class other than its own for each image. offsets: (B,) int64 in [1, classes)."""
    return torch.remainder(labels + offsets, classes)
