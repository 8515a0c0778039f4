"""Metrics of nearest neighbours: precision and recall, density and coverage.

A ball around a point reaches to its k-th nearest neighbour within its own set; the point itself is no neighbour.

- Precision: share of generated samples inside a reference ball; recall: share of reference images inside a generated
  ball. k = 3, a point at the very radius is inside (Kynkaanniemi et al., NeurIPS 2019, equations 1 and 2).
- Density: reference balls that hold a generated sample, on average, divided by k; coverage: share of reference images
  with a generated sample inside their own ball. k = 5, a point at the very radius is outside (Naeem et al., ICML 2020,
  equations 3 and 6).

Distances are computed once, in pieces, for all of them; `harness.metrics.generation.distances` says how ties are kept.

Intervals keep all balls and resample what is scored: the generated samples for precision and density, the reference
images for recall and coverage. (Balls of a set that is resampled with replacement would shrink onto its copies.) Those
of precision and density are about other samples of the same generator, beside the same reference. Recall and coverage
change with the generated samples, too, through the balls or samples that an image happens to meet: their variance gets
the jackknife's over generated samples, again with all balls kept. Over the reference images alone, intervals for 600
samples hold the mean over sets of samples in 70 to 85 % of cases; results/generation_intervals.md has both.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from harness.metrics.generation.distances import PIECE, BallRule, Indices, NearestOthers, count_inside, nearest_others
from harness.metrics.generation.estimates import IntervalEstimate, matrices, share
from harness.metrics.intervals import DIGITS, TAIL, Bools, Floats
from harness.types import HarnessError

PRECISION_K = 3
"""Neighbours of precision and recall."""

DENSITY_K = 5
"""Neighbours of density and coverage."""

EXPECTED_DENSITY = 1.0
"""Mean density of samples of the reference's own distribution; a set near the middle of the reference exceeds it."""


@dataclass(frozen=True, eq=False)
class Neighbours:
    """How M generated samples and N reference images lie in each other's balls.

    precise: (M,) bool, inside a reference ball of k = 3. recalled: (N,) bool, inside a generated ball of k = 3.
    recalled_alone: (M,) reference images that no generated ball but this sample's holds.
    held: (M,) reference balls of k = 5 that hold the sample, divided by 5. covered: (N,) bool, own ball of k = 5 holds
        a generated sample.
    covered_alone: (M,) reference images whose ball holds no generated sample but this.
    memorised: (M,) bool, nearer to a reference image than that image's own nearest neighbour.
    reference: neighbours within the reference.
    """

    precise: Bools
    recalled: Bools
    recalled_alone: Indices
    held: Floats
    covered: Bools
    covered_alone: Indices
    memorised: Bools
    reference: NearestOthers

    @property
    def precision(self) -> IntervalEstimate:
        """Share of generated samples inside a reference ball; over generated samples."""
        return share(self.precise, len(self.precise))

    @property
    def recall(self) -> IntervalEstimate:
        """Share of reference images inside a generated ball; over images and samples."""
        return share(self.recalled, len(self.precise), _jackknife(self.recalled_alone / len(self.recalled)))

    @property
    def density(self) -> IntervalEstimate:
        """Mean number of reference balls that hold a sample, by k; t interval over generated samples."""
        mean, n = float(self.held.mean()), len(self.held)
        reach = float(stats.t.isf(TAIL, n - 1) * stats.sem(self.held))
        return IntervalEstimate(mean, (round(max(0.0, mean - reach), DIGITS), round(mean + reach, DIGITS)), n)

    @property
    def coverage(self) -> IntervalEstimate:
        """Share of reference images whose ball holds a generated sample; over images and samples."""
        return share(self.covered, len(self.precise), _jackknife(self.covered_alone / len(self.covered)))


def neighbours(
    generated: ArrayLike,
    reference: ArrayLike,
    precision_k: int = PRECISION_K,
    density_k: int = DENSITY_K,
    piece: int = PIECE,
) -> Neighbours:
    """Membership in all balls, by two passes within the sets and one between them.

    generated: (M, D). reference: (N, D). precision_k, density_k: neighbours that a ball reaches to; M and N must be
    larger. piece: rows of distances at once, which changes nothing. Raises HarnessError for sets that are too small.
    """
    x, y = matrices(generated, reference)
    k = max(precision_k, density_k, 2)
    if min(len(x), len(y)) <= k:
        raise HarnessError(
            f"Nearest neighbours: {len(x)} generated and {len(y)} reference samples; balls that reach to neighbour "
            f"{k} need at least {k + 1} of each."
        )
    own, others = nearest_others(x, precision_k, piece), nearest_others(y, k, piece)
    inside_reference, inside_generated, dense, nearest = count_inside(
        x,
        y,
        (
            BallRule(others.squared[:, precision_k - 1], around_rows=False, closed=True),
            BallRule(own.squared[:, precision_k - 1], around_rows=True, closed=True),
            BallRule(others.squared[:, density_k - 1], around_rows=False, closed=False),
            BallRule(others.squared[:, 0], around_rows=False, closed=False),
        ),
        piece,
    )
    return Neighbours(
        precise=inside_reference.rows > 0,
        recalled=inside_generated.columns > 0,
        recalled_alone=inside_generated.alone,
        held=dense.rows / density_k,
        covered=dense.columns > 0,
        covered_alone=dense.alone,
        memorised=nearest.rows > 0,
        reference=others,
    )


def expected_coverage(k: int, real: int, generated: int) -> float:
    """Mean coverage where both sets come from one distribution: 1 - prod_{i=1..k} (N - i) / (M + N - i).

    The k nearest of the other N - 1 + M points must all be reference images for an image to stay uncovered (Naeem et
    al. 2020, equation 9). k: of the balls. real: N, reference images. generated: M, samples.
    """
    i = np.arange(1, k + 1)
    return float(1 - np.prod((real - i) / (generated + real - i)))


def _jackknife(losses: Floats) -> float:
    """Variance of a value that falls by `losses` (M,) where one of the samples is left out (Efron & Stein 1981)."""
    return float((len(losses) - 1) / len(losses) * ((losses - losses.mean()) ** 2).sum())
