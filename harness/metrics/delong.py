"""Scores by rank, and what each image contributes to an AUROC: DeLong's components. Pure numpy, float64."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from harness.base.noise import generator
from harness.metrics.intervals import Floats, Undefined
from harness.types import HarnessError

Ints = NDArray[np.integer[Any]]
Names = Sequence[str] | NDArray[Any]

EXTRA = 0.5
"""Images that each side has at the limit beside those seen, so that both sides together have one."""


KEPT = 1_024
"""Images up to which random weights are drawn once: they are the same for each record of a suite."""


@dataclass(frozen=True)
class Ranked:
    """ID and OOD images by the rank of their score among all different scores, from 0, lowest first.

    id: (n_id,), ood: (n_ood,) ints below `levels`. image: (n_id,) ints, equal for versions of one ID image; None where
    there is one of each.
    """

    id: Ints
    ood: Ints
    levels: int
    image: Ints | None = None

    @property
    def sizes(self) -> tuple[int, int]:
        return len(self.id) if self.image is None else int(self.image.max()) + 1, len(self.ood)

    def counts(self, id_weights: Floats | None = None, ood_weights: Floats | None = None) -> tuple[Any, Any]:
        """Rows in and out of distribution at each score, (K,) each, lowest first; or their weights, (..., K) each.

        id_weights, ood_weights: (..., images) float, of the source images.
        """
        if id_weights is not None and self.image is not None:
            id_weights = id_weights[..., self.image]
        return _at_levels(self.id, id_weights, self.levels), _at_levels(self.ood, ood_weights, self.levels)


def _at_levels(ranks: Ints, weights: Floats | None, levels: int) -> Any:
    """Numbers of ranks (K,), or sums of their weights (..., K). ranks: (n,) below K. weights: (..., n)."""
    if weights is None:
        return np.bincount(ranks, minlength=levels)
    rows = weights.size // len(ranks)
    places = np.arange(rows)[:, None] * levels + ranks
    return np.bincount(places.ravel(), weights.ravel(), rows * levels).reshape(*weights.shape[:-1], levels)


def rank(id_scores: ArrayLike, ood_scores: ArrayLike, name: str = "OOD", image: Ints | None = None) -> Ranked:
    """Scores of ID images (n_id,) and of one OOD data set called `name`, (n_ood,). image: see `Ranked`.

    Raises `Undefined` when either is empty, HarnessError where they are not finite.
    """
    inside, outside = _finite(id_scores, "ID"), _finite(ood_scores, name)
    different, ranks = np.unique(np.concatenate((inside, outside)), return_inverse=True)
    return Ranked(ranks[: len(inside)], ranks[len(inside) :], len(different), image)


def rank_all(id_scores: ArrayLike, ood: Mapping[str, ArrayLike], images: Names | None) -> list[Ranked]:
    """One `Ranked` per OOD data set. images: (n_id,) names of the source images, or None where all are different."""
    if not ood:
        raise Undefined("No OOD data sets: there is nothing to tell ID images from.")
    names, image = np.unique(np.asarray([] if images is None else images), return_inverse=True)
    if images is not None and len(image) != np.size(id_scores):
        raise ValueError(f"{len(image)} images for {np.size(id_scores)} ID scores")
    several = image if len(names) < len(image) else None
    return [rank(id_scores, scores, name, several) for name, scores in ood.items()]


def _finite(scores: ArrayLike, name: str) -> Floats:
    values = np.asarray(scores, dtype=np.float64)
    if values.ndim != 1:
        raise ValueError(f"expected scores of one dimension, got shape {values.shape}")
    if not values.size:
        raise Undefined(f"No {name} images: there is nothing to tell apart.")
    if bad := int((~np.isfinite(values)).sum()):
        raise HarnessError(f"{bad} of {values.size} scores of {name} images are NaN or infinite and cannot be ranked.")
    return values


@dataclass(frozen=True)
class Components:
    """Contributions of the images to a mean of D AUROCs, or to a difference of two; see `ood.auroc_metric`.

    id: (n_id,) mean placements of the ID images over data sets. ood: (n_d,) placements of each data set's images.
    image: as in `Ranked`.
    """

    id: Floats
    ood: tuple[Floats, ...]
    image: Ints | None = None

    @classmethod
    def of(cls, ranked: Sequence[Ranked]) -> Components:
        placements = [_placements(data) for data in ranked]
        inside = np.mean([inside for inside, _ in placements], axis=0)
        return cls(inside, tuple(outside for _, outside in placements), ranked[0].image)

    def __sub__(self, other: Components) -> Components:
        return Components(
            self.id - other.id, tuple(b - a for b, a in zip(self.ood, other.ood, strict=True)), self.image
        )

    @property
    def sizes(self) -> tuple[int, ...]:
        return len(self.id) if self.image is None else int(self.image.max()) + 1, *map(len, self.ood)

    @property
    def value(self) -> float:
        return float(self.id.mean())

    def per_image(self) -> Floats:
        """Contributions of the source images in distribution to the value, which is their mean: (images,)."""
        if self.image is None:
            return self.id
        rows = np.bincount(self.image)
        average = len(self.image) / len(rows)
        return self.value + (np.bincount(self.image, self.id) - rows * self.value) / average

    def moments(self, limit: float) -> tuple[float, float]:
        """Mean and variance of the mean over randomly weighted images, with half an image on each side at `limit`.

        To first order: the weights of the two sides are independent, and flat Dirichlet as in
        `harness.metrics.intervals`.

        limit: what no image's placement can exceed, or fall below. The variance is DeLong's but for terms of that half.
        """
        inside, spread = _weighed(self.id, limit, self.image)
        outside = [_weighed(values, limit) for values in self.ood]
        gaps = [(limit - values.mean()) * share for values, (share, _) in zip(self.ood, outside, strict=True)]
        variance = spread + sum(own for _, own in outside) / len(self.ood) ** 2
        return limit - inside * float(np.mean(gaps)), variance


def _placements(ranked: Ranked) -> tuple[Floats, Floats]:
    n_id, n_ood, levels = len(ranked.id), len(ranked.ood), ranked.levels
    inside, outside = np.bincount(ranked.id, minlength=levels), np.bincount(ranked.ood, minlength=levels)
    id_below, ood_below = np.cumsum(inside) - inside / 2, np.cumsum(outside) - outside / 2
    return ood_below[ranked.id] / n_ood, 1 - id_below[ranked.ood] / n_id


def _weighed(values: Floats, limit: float, image: Ints | None = None) -> tuple[float, float]:
    """Share of the weight that falls on the images of a side, on average, and the variance of their weighted mean."""
    rows = np.ones(len(values)) if image is None else np.bincount(image).astype(np.float64)
    # Rows of one image, relative to the average image.
    sums = values if image is None else np.bincount(image, values)
    n, average = len(rows), len(values) / len(rows)
    share = n / (n + EXTRA)
    mean = limit - share * (limit - values.mean())
    squares = float((((sums - rows * mean) / average) ** 2).sum() + EXTRA * (limit - mean) ** 2)
    return share, squares / ((n + EXTRA) * (n + EXTRA + 1))


def weights(draws: Iterator[tuple[Floats, float]], replicates: int) -> tuple[Floats, Floats]:
    """Random weights (replicates, images) and those of half an image more (replicates,), the next of `draws`."""
    rows, extra = zip(*islice(draws, replicates), strict=True)
    return np.stack(rows), np.array(extra)


def weight_draws(purpose: str, name: str, images: int, replicates: int) -> Iterator[tuple[Floats, float]]:
    """Weights of one replicate after the other, (images,), and of half an image more.

    purpose, name: key of the draws.
    """
    draws = (
        _kept_draws(purpose, name, images, replicates) if images <= KEPT else _drawn(purpose, name, images, replicates)
    )
    return iter(draws)


@lru_cache(maxsize=16)
def _kept_draws(purpose: str, name: str, images: int, replicates: int) -> tuple[tuple[Floats, float], ...]:
    return tuple(_drawn(purpose, name, images, replicates))


def _drawn(purpose: str, name: str, images: int, replicates: int) -> Iterator[tuple[Floats, float]]:
    rng = generator(0, purpose, name)
    for _ in range(replicates):
        yield rng.standard_exponential(images), rng.standard_gamma(EXTRA)
