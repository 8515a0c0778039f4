"""Maximum mean discrepancy between two sets of features: KID.

KID is the unbiased estimate of MMD^2 with the kernel ((x.y) / D + 1)^3 (Binkowski et al., ICLR 2018, section 4 and
appendix B), 0 on average where both distributions are equal.

Sums of kernels run over pieces of rows: no matrix of all pairs is kept.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from harness.metrics.generation.estimates import IntervalEstimate, matrices, normal
from harness.metrics.intervals import Floats
from harness.types import HarnessError

Kernel = Callable[[Floats, Floats], Floats]

PIECE = 1_024
"""Rows of a kernel matrix that are computed at once."""

SUBSET = 1_000
"""Samples of a subset of the published KID."""

PUBLISHED_SEED = 2020
"""Seed of torch-fidelity."""


@dataclass(frozen=True)
class PublishedKID:
    """Mean and standard deviation of KID over random subsets, as papers print them.

    deviation: between subsets of `size` samples. It is no standard error of the mean: it depends on the size of the
        subsets more than on the number of samples, and subsets share samples.
    """

    mean: float
    deviation: float
    subsets: int
    size: int


def cubic(x: Floats, y: Floats) -> Floats:
    """Kernel of KID between rows of x (M, D) and y (N, D): (M, N)."""
    base = x @ y.T / x.shape[1] + 1
    return np.asarray(base * base * base)


def kid(generated: ArrayLike, reference: ArrayLike, piece: int = PIECE) -> IntervalEstimate:
    """Unbiased MMD^2 of all samples, with a normal interval by the jackknife over the generated ones.

    The interval is about other samples of the same generator, beside the same reference. Leaving out one sample at a
    time needs no further kernel: the sums of its row are subtracted.

    generated: (M, D), M >= 3. reference: (N, D), N >= 2. piece: rows at once, which changes nothing but the last bits.
    """
    x, y = matrices(generated, reference)
    m, n = len(x), len(y)
    if m < 3 or n < 2:
        raise HarnessError(f"KID: {m} generated and {n} reference samples; it needs at least 3 and 2.")
    within, across = sums_of_others(cubic, x, piece), row_sums(cubic, x, y, piece)
    constant = sums_of_others(cubic, y, piece).sum() / (n * (n - 1))
    value = within.sum() / (m * (m - 1)) - 2 * across.sum() / (m * n) + constant
    others = (within.sum() - 2 * within) / ((m - 1) * (m - 2)) - 2 * (across.sum() - across) / ((m - 1) * n)
    deviation = np.sqrt((m - 1) / m * ((others - others.mean()) ** 2).sum())
    return normal(float(value), float(deviation), m)


def published_kid(
    generated: ArrayLike, reference: ArrayLike, subsets: int = 100, size: int = SUBSET, seed: int = PUBLISHED_SEED
) -> PublishedKID:
    """KID as papers print it: over random subsets, drawn as torch-fidelity draws them.

    generated: (M, D). reference: (N, D). Raises HarnessError where a set is smaller than a subset.
    """
    x, y = matrices(generated, reference)
    if not 2 <= size <= min(len(x), len(y)):
        raise HarnessError(
            f"KID: subsets of {size} from {len(x)} generated and {len(y)} reference samples; "
            f"the size must be from 2 to {min(len(x), len(y))}."
        )
    rng = np.random.RandomState(seed)
    values = []
    for _ in range(subsets):
        first = x[rng.choice(len(x), size, replace=False)]
        second = y[rng.choice(len(y), size, replace=False)]
        values.append(_unbiased(cubic, first, second))
    return PublishedKID(float(np.mean(values)), float(np.std(values)), subsets, size)


def row_sums(kernel: Kernel, x: Floats, y: Floats, piece: int = PIECE) -> Floats:
    """For each row of x (M, D), the sum of the kernel over the rows of y (N, D): (M,)."""
    return np.concatenate([kernel(x[k : k + piece], y).sum(axis=1) for k in range(0, len(x), piece)])


def sums_of_others(kernel: Kernel, x: Floats, piece: int = PIECE) -> Floats:
    """For each row of x (N, D), the sum of the kernel over all other rows: (N,)."""
    sums = np.empty(len(x))
    for start in range(0, len(x), piece):
        block = kernel(x[start : start + piece], x)
        rows = np.arange(len(block))
        block[rows, start + rows] = 0.0
        sums[start : start + piece] = block.sum(axis=1)
    return sums


def _unbiased(kernel: Kernel, x: Floats, y: Floats) -> float:
    m, n = len(x), len(y)
    own, other = sums_of_others(kernel, x).sum(), sums_of_others(kernel, y).sum()
    return float(own / (m * (m - 1)) + other / (n * (n - 1)) - 2 * row_sums(kernel, x, y).sum() / (m * n))
