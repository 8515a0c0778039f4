"""Metrics of one set of generated images beside its reference, each computed only where it is asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from numpy.typing import NDArray
from torch import Tensor, from_numpy

from harness.base.errors import suggest
from harness.generation.score.images import Statistics
from harness.metrics.generation.estimates import IntervalEstimate
from harness.metrics.generation.inception_score import inception_score
from harness.metrics.generation.kernel import kid
from harness.metrics.generation.memorisation import expected_memorised, memorised
from harness.metrics.generation.moments import Moments, frechet, frechet_infinity, moments
from harness.metrics.generation.neighbours import (
    DENSITY_K,
    EXPECTED_DENSITY,
    Neighbours,
    expected_coverage,
    neighbours,
)
from harness.metrics.generation.scores import UNITS
from harness.metrics.intervals import Undefined

UNTOLD = 2**53
"""Number of samples behind statistics from a file, which do not tell it: taken as enough for their dimension."""


@dataclass(frozen=True, eq=False)
class ComparedFeatures:
    """Features of two sets from one extractor.

    generated: (M, D). reference: (N, D), or None where only statistics are at hand. statistics: of the reference's
    features from a file, which take the place of its own for Frechet distances. seed: of the subsets of `fd_infinity`.
    head: from features (B, D) to logits (B, K), or None.
    """

    generated: NDArray[Any]
    reference: NDArray[Any] | None
    seed: int
    statistics: Statistics | None = None
    head: Callable[[Tensor], Tensor] | None = None

    @cached_property
    def target(self) -> Moments:
        """Mean and covariance of the reference."""
        if self.statistics:
            return Moments(self.statistics.mean, self.statistics.covariance, UNTOLD)
        return moments(self.rows)

    @property
    def rows(self) -> NDArray[Any]:
        """Features of the reference images; `Undefined` without."""
        if self.reference is None:
            raise Undefined("the reference holds statistics (mu, sigma) alone, and this metric looks at single images")
        return self.reference

    @cached_property
    def near(self) -> Neighbours:
        """Both sets in each other's balls."""
        return neighbours(self.generated, self.rows)

    def inception_score(self) -> IntervalEstimate:
        """See `harness.metrics.generation.inception_score`; `Undefined` without logits."""
        if self.head is None:
            raise Undefined("the extractor gives no class probabilities")
        return inception_score(self.head(from_numpy(self.generated)).numpy())


ESTIMATES: Mapping[str, Callable[[ComparedFeatures], IntervalEstimate]] = {
    "fd": lambda sets: frechet(sets.generated, sets.target),
    "fd_infinity": lambda sets: frechet_infinity(sets.generated, sets.target, sets.seed),
    "kid": lambda sets: kid(sets.generated, sets.rows),
    "is": ComparedFeatures.inception_score,
    "precision": lambda sets: sets.near.precision,
    "recall": lambda sets: sets.near.recall,
    "density": lambda sets: sets.near.density,
    "coverage": lambda sets: sets.near.coverage,
    "memorised": lambda sets: memorised(sets.near),
}
"""Metrics by name, in the order of tables."""

MEANING = {**UNITS, "is": ("exp(nats)", True)}
"""Unit of every metric, and whether higher is better."""

SCALED = ("fd", "fd_infinity", "kid", "is")
"""Metrics that carry the extractor in their name: their scale is the extractor's."""

PUBLISHED_NAMES = {"fd": "fid", "fd_infinity": "fid_infinity"}
"""Names of the Frechet distances where the published Inception network is compared with a reference archive."""

IDEALS: Mapping[str, Callable[[ComparedFeatures], float]] = {
    "fd_infinity": lambda sets: 0.0,
    "kid": lambda sets: 0.0,
    "density": lambda sets: EXPECTED_DENSITY,
    "coverage": lambda sets: expected_coverage(DENSITY_K, len(sets.rows), len(sets.generated)),
    "memorised": lambda sets: expected_memorised(sets.near.reference),
}
"""Mean of a metric where the generated images come from the reference's own distribution, where it is known."""


def check_metrics(names: Sequence[str]) -> Sequence[str]:
    """The metrics in the order of tables, all of them for none; raises HarnessError for an unknown name."""
    for name in names:
        if name not in ESTIMATES:
            raise suggest("metric", name, list(ESTIMATES))
    return [name for name in ESTIMATES if name in names or not names]


def name_of(metric: str, extractor: str, published: bool) -> str:
    """The name of a metric in tables: ``fd[digits/resnet]``, or ``fid``. published: see `PUBLISHED_NAMES`."""
    if published and metric in PUBLISHED_NAMES:
        return PUBLISHED_NAMES[metric]
    return f"{metric}[{extractor}]" if metric in SCALED else metric
