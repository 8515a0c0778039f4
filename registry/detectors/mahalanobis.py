"""Mahalanobis distance (Lee et al., NeurIPS 2018) and its relative form (Ren et al., 2021), on penultimate features."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from harness.plugins import detector
from harness.types import Bank, Response


def gaussians(bank: Bank) -> dict[str, Tensor]:
    """Class means (K, D) with the precision (D, D) they share, and mean (D,) and precision of all; float64."""
    labels, width, classes = bank.train.labels, bank.train.width, int(bank.train.labels.max()) + 1
    sums, counts = torch.zeros(classes, width, dtype=torch.float64), torch.bincount(labels, minlength=classes)
    for chunk, label in zip(bank.train.chunks(), _pieces(bank), strict=True):
        sums.index_add_(0, label, chunk.double())
    means, mean = sums / counts.clamp(min=1)[:, None], sums.sum(0) / len(labels)
    within, total = (torch.zeros(width, width, dtype=torch.float64) for _ in range(2))
    for chunk, label in zip(bank.train.chunks(), _pieces(bank), strict=True):
        apart, away = chunk.double() - means[label], chunk.double() - mean
        within += apart.T @ apart
        total += away.T @ away
    # A class without an image has no mean: it never is the nearest.
    means[counts == 0] = torch.inf
    inverses = [torch.linalg.pinv(scatter / len(labels), hermitian=True) for scatter in (within, total)]
    return {"means": means, "precision": inverses[0], "mean": mean[None], "background": inverses[1]}


def _pieces(bank: Bank) -> list[Tensor]:
    lengths = [len(chunk) for chunk in bank.train.chunks()]
    return list(bank.train.labels.split(lengths))


class Gaussian:
    """Squared Mahalanobis distances to means (K, D) under one precision (D, D)."""

    def __init__(self, means: Tensor, precision: Tensor) -> None:
        self._known = means.isfinite().all(1)
        self._precision = precision
        means = torch.where(self._known[:, None], means, 0.0)
        self._turned = precision @ means.T
        self._squares = (means.T * self._turned).sum(0)

    def distances(self, features: Tensor) -> Tensor:
        """(R, K) float64 of features (R, D); infinite for a class without a mean."""
        f = features.double()
        squares = ((f @ self._precision) * f).sum(1)[:, None] + self._squares - 2 * f @ self._turned
        return torch.where(self._known, squares, torch.inf)


@detector("mahalanobis")
@dataclass(frozen=True)
class Mahalanobis:
    """Minus the squared distance to the nearest class mean, under one covariance: OpenOOD's `mds`."""

    def fit(self, bank: Bank) -> Callable[[Response], Tensor]:
        found = bank.remember(lambda: gaussians(bank), of=Mahalanobis())
        device = next(bank.network.parameters(), torch.empty(0)).device
        near, common = (
            Gaussian(found[means].to(device), found[precision].to(device))
            for means, precision in (("means", "precision"), ("mean", "background"))
        )
        return lambda seen: self.measure(seen.features, near, common)

    def measure(self, features: Tensor, near: Gaussian, common: Gaussian) -> Tensor:
        """Scores (R,) of features (R, D)."""
        return -near.distances(features).amin(1)


@detector("relative-mahalanobis")
@dataclass(frozen=True)
class RelativeMahalanobis(Mahalanobis):
    """The same, less the distance to the mean of all images under their common covariance: OpenOOD's `rmds`."""

    def measure(self, features: Tensor, near: Gaussian, common: Gaussian) -> Tensor:
        return super().measure(features, near, common) + common.distances(features)[:, 0]
