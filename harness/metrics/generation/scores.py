"""Metrics of generated images beside reference images, by name, from the features of one extractor.

Each is computed only where it is asked for; metrics of nearest neighbours share their distances.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from numpy.typing import ArrayLike, NDArray

from harness.base.errors import suggest
from harness.metrics.generation.estimates import IntervalEstimate
from harness.metrics.generation.inception_score import (
    PUBLISHED_SPLITS,
    inception_score,
    published_inception_score,
)
from harness.metrics.generation.kernel import SUBSET, kid, published_kid
from harness.metrics.generation.memorisation import expected_memorised, memorised
from harness.metrics.generation.moments import Moments, frechet, frechet_infinity, moments
from harness.metrics.generation.neighbours import (
    DENSITY_K,
    EXPECTED_DENSITY,
    Neighbours,
    expected_coverage,
    neighbours,
)
from harness.metrics.intervals import Undefined
from harness.types import Metric

CONDITION = "generated"
"""Condition of the metrics, unless the caller names another."""

FRECHET = ("fd", "fd_infinity")
"""Metrics that need more samples than dimensions."""

PUBLISHED_NAMES = {"fd": "fid", "fd_infinity": "fid_infinity"}
"""Names of the Frechet distances in features of the published Inception network; all others bear the extractor's."""


@dataclass(frozen=True, eq=False)
class ComparedFeatures:
    """Features of generated images and of a reference, from one extractor.

    extractor: its name. generated: (M, D). reference: (N, D), or None where only statistics are at hand: the training
    images where `memorised` is to mean something. seed: of the subsets of `fd_infinity`.
    statistics: from a file, for Frechet distances in place of those of `reference`.
    logits: from features (M, D) to (M, K), or None. published: the extractor is Inception with the published weights.
    """

    extractor: str
    generated: NDArray[Any]
    reference: NDArray[Any] | None
    seed: int = 0
    statistics: Moments | None = None
    logits: Callable[[NDArray[Any]], ArrayLike] | None = None
    published: bool = False

    def metric(self, name: str, condition: str = CONDITION) -> Metric:
        """The metric with this name in `METRICS`, under its full name; raises `Undefined` where it has no value.

        Raises HarnessError for features with NaN or inf, of different dimensions, and of too few images.
        """
        kind = METRICS[name]
        full = full_name(name, self.extractor, self.published)
        return kind.estimate(self).metric(full, condition, kind.unit, kind.higher_is_better)

    def metrics(self, condition: str = CONDITION, left_out: Sequence[str] = ()) -> list[Metric]:
        """All metrics that are defined, in the order of `METRICS`, but for those that are left out."""
        made = []
        for name in [name for name in METRICS if name not in left_out]:
            with suppress(Undefined):
                made.append(self.metric(name, condition))
        return made

    def ideal(self, name: str) -> float | None:
        """Mean of a metric for samples of the reference's own distribution; None where it is unknown."""
        kind = METRICS[name]
        return kind.ideal(self) if kind.ideal else None

    @cached_property
    def target(self) -> Moments:
        """Mean and covariance of the reference."""
        return self.statistics or moments(self.rows)

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

    def published_forms(self, names: Sequence[str]) -> list[str]:
        """Sentences with KID and the inception score as papers print them, where the images suffice for that.

        names: metrics that were asked for. The deviations are those of subsets and splits, and no standard errors.
        """
        made = []
        if "kid" in names and self.reference is not None and min(len(self.generated), len(self.reference)) >= SUBSET:
            form = published_kid(self.generated, self.reference, size=SUBSET)
            made.append(
                f"KID as published: mean {form.mean:.5f} and standard deviation {form.deviation:.5f} of {form.subsets} "
                f"subsets of {form.size:,}; the deviation is that of a subset, no standard error."
            )
        if "inception_score" in names and self.logits is not None and len(self.generated) >= PUBLISHED_SPLITS:
            mean, deviation = published_inception_score(self.logits(self.generated))
            made.append(
                f"Inception score as published: mean {mean:.3f} and standard deviation {deviation:.3f} of "
                f"{PUBLISHED_SPLITS} splits; it falls with smaller splits, and the deviation is no standard error."
            )
        return made

    def inception_score(self) -> IntervalEstimate:
        """See `harness.metrics.generation.inception_score`; `Undefined` without logits."""
        if self.logits is None:
            raise Undefined("the extractor gives no class probabilities")
        return inception_score(self.logits(self.generated))


@dataclass(frozen=True)
class GenerationMetric:
    """A metric: its unit, whether higher is better, its estimate, and its ideal, see `ComparedFeatures.ideal`."""

    unit: str
    higher_is_better: bool
    estimate: Callable[[ComparedFeatures], IntervalEstimate]
    ideal: Callable[[ComparedFeatures], float] | None = None


METRICS: Mapping[str, GenerationMetric] = {
    "fd": GenerationMetric("squared distance", False, lambda sets: frechet(sets.generated, sets.target)),
    "fd_infinity": GenerationMetric(
        "squared distance",
        False,
        lambda sets: frechet_infinity(sets.generated, sets.target, sets.seed),
        lambda sets: 0.0,
    ),
    "kid": GenerationMetric("squared MMD", False, lambda sets: kid(sets.generated, sets.rows), lambda sets: 0.0),
    "precision": GenerationMetric("fraction", True, lambda sets: sets.near.precision),
    "recall": GenerationMetric("fraction", True, lambda sets: sets.near.recall),
    # Density is best at 1: a set near the middle of the reference exceeds it.
    "density": GenerationMetric("balls / k", True, lambda sets: sets.near.density, lambda sets: EXPECTED_DENSITY),
    "coverage": GenerationMetric(
        "fraction",
        True,
        lambda sets: sets.near.coverage,
        lambda sets: expected_coverage(DENSITY_K, len(sets.rows), len(sets.generated)),
    ),
    "memorised": GenerationMetric(
        "fraction", False, lambda sets: memorised(sets.near), lambda sets: expected_memorised(sets.near.reference)
    ),
    "inception_score": GenerationMetric("classes", True, ComparedFeatures.inception_score),
}
"""Metrics by name, in the order of tables."""


def check_metrics(names: Sequence[str]) -> Sequence[str]:
    """The metrics in the order of tables, all of them for none; raises HarnessError for an unknown name."""
    for name in names:
        if name not in METRICS:
            raise suggest("metric", name, list(METRICS))
    return [name for name in METRICS if name in names or not names]


def full_name(metric: str, extractor: str, published: bool = False) -> str:
    """The name of a metric in tables: ``fd[digits/resnet]``, or ``fid``. published: see `PUBLISHED_NAMES`."""
    return PUBLISHED_NAMES[metric] if published and metric in PUBLISHED_NAMES else f"{metric}[{extractor}]"
