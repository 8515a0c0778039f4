"""Directions that a gradient of log p(y) at x_t should have, one per image: the score-based target.

It is the conditional minus the unconditional score of x_t, which is the gradient of log p(y | x_t) of the data, and
comes from Gaussian classes in closed form or from a conditional denoiser trained with label dropout.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from harness.diffusion.analysis.gaussian_classes import GaussianClasses
from harness.diffusion.denoiser import Denoiser
from harness.models.tiles import Tiles
from harness.types import DiffusedViews, HarnessError

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


def gaussian_target(images: Tensor, labels: Tensor, classes: int) -> GaussianTarget:
    """The target of training images (N, 3, H, W) in [0, 1]; raises HarnessError for large ones."""
    if images[0].numel() > LARGEST:
        raise HarnessError(
            f"target=gaussian models every pixel of an image, and {'x'.join(map(str, images.shape[1:]))} are more than "
            f"{LARGEST:,} numbers. Name a conditional denoiser: target=denoiser:NAME."
        )
    return GaussianTarget(GaussianClasses.fit((images * 2 - 1).double(), labels, classes))


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
