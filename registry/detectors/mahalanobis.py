"""Mahalanobis distance (Lee et al., NeurIPS 2018) and its relative form (Ren et al., 2021), on penultimate features."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from harness.plugins import detector
from harness.types import Bank, FeatureSet, Response


def gaussians(bank: Bank) -> dict[str, Tensor]:
    """Class means (K, D) with their common precision (D, D), and mean (1, D) and precision of all images; float64."""
    train = bank.train_features
    classes = int(train.labels.max()) + 1
    counts = torch.bincount(train.labels, minlength=classes)
    sums = torch.zeros(classes, train.width, dtype=torch.float64)
    for chunk, label in _pieces(train):
        sums.index_add_(0, label, chunk.double())
    means = sums / counts.clamp(min=1)[:, None]
    mean = sums.sum(0) / len(train.labels)
    within, total = (torch.zeros(train.width, train.width, dtype=torch.float64) for _ in range(2))
    for chunk, label in _pieces(train):
        from_class, from_mean = chunk.double() - means[label], chunk.double() - mean
        within += from_class.T @ from_class
        total += from_mean.T @ from_mean
    # A class without an image has no mean: it never is the nearest.
    means[counts == 0] = torch.inf
    precision, background = (torch.linalg.pinv(x / len(train.labels), hermitian=True) for x in (within, total))
    return {"means": means, "precision": precision, "mean": mean[None], "background": background}


def _pieces(features: FeatureSet) -> Iterator[tuple[Tensor, Tensor]]:
    """Features (n, D) and labels (n,), chunk by chunk."""
    start = 0
    for chunk in features.chunks():
        yield chunk, features.labels[start : start + len(chunk)]
        start += len(chunk)


class Gaussian:
    """Squared Mahalanobis distances to means (K, D) under one precision (D, D)."""

    def __init__(self, means: Tensor, precision: Tensor) -> None:
        self._has_mean = means.isfinite().all(1)
        self._precision = precision
        means = torch.where(self._has_mean[:, None], means, 0.0)
        self._precision_means = precision @ means.T
        self._squares = (means.T * self._precision_means).sum(0)

    def distances(self, features: Tensor) -> Tensor:
        """(R, K) float64 of features (R, D); infinite for a class without a mean."""
        f = features.double()
        squares = ((f @ self._precision) * f).sum(1)[:, None] + self._squares - 2 * f @ self._precision_means
        return torch.where(self._has_mean, squares, torch.inf)


@detector("mahalanobis")
@dataclass(frozen=True)
class Mahalanobis:
    """Minus the squared distance to the nearest class mean, under one covariance: OpenOOD's `mds`."""

    def fit(self, bank: Bank) -> Callable[[Response], Tensor]:
        learnt = bank.remember(lambda: gaussians(bank), of=Mahalanobis())
        device = next(bank.network.parameters(), torch.empty(0)).device
        learnt = {name: values.to(device) for name, values in learnt.items()}
        by_class = Gaussian(learnt["means"], learnt["precision"])
        common = Gaussian(learnt["mean"], learnt["background"])
        return lambda seen: self.measure(seen.features, by_class, common)

    def measure(self, features: Tensor, by_class: Gaussian, common: Gaussian) -> Tensor:
        """Scores (R,) of features (R, D)."""
        return -by_class.distances(features).amin(1)


@detector("relative-mahalanobis")
@dataclass(frozen=True)
class RelativeMahalanobis(Mahalanobis):
    """The same, minus the distance to the mean of all images under their common covariance: OpenOOD's `rmds`."""

    def measure(self, features: Tensor, by_class: Gaussian, common: Gaussian) -> Tensor:
        return super().measure(features, by_class, common) + common.distances(features)[:, 0]
