"""Numbers from columns: pure functions of numpy arrays, with statistics from scipy and statsmodels.

Scale: accuracies and errors are fractions in [0, 1] (unit "fraction"); the mean corruption error is a multiple of the
reference model's (unit "ratio", 1.0 is the reference). Tables multiply both by 100.

Sampling unit: the source image. One image under 75 corruptions is one draw from the world, not 75, so intervals and
tests resample, or average within, images. All intervals are two-sided at 95 %. Simulated ones are seeded: the same
columns give the same metric.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.proportion import proportion_confint

from harness.noise import generator
from harness.types import HarnessError, Metric

Floats = NDArray[np.floating[Any]]
Bools = NDArray[np.bool_]
Interval = tuple[float, float]

LEVEL = 0.95
REPLICATES = 5_000
FLIPS = 20_000
TINY = 1e-12


class Undefined(HarnessError):
    """The data do not determine this metric; the message says why. A report leaves the metric out and quotes it."""


@dataclass(frozen=True)
class PairedResult:
    """Model b against model a on the same samples.

    difference: accuracy of b minus accuracy of a, in [-1, 1]; positive when b is better.
    interval: 95 % interval of the difference.
    n: source images.
    a_only, b_only: rows that only a, or only b, gets right.
    p: two-sided p-value that respects the sampling unit.
    p_rows: exact McNemar p-value that takes rows for independent, as papers do; equal to `p` for a single condition and
        usually far too small over several.
    """

    difference: float
    interval: Interval
    n: int
    a_only: int
    b_only: int
    p: float
    p_rows: float


def accuracy(correct: Bools, condition: str, name: str = "accuracy") -> Metric:
    """Fraction of correct samples, with Wilson's score interval (Wilson 1927).

    correct: (n,) bool, one row per source image. Raises `Undefined` when n is 0.
    """
    (correct,) = _bools(1, correct)
    value = float(correct.mean())
    return Metric(name, condition, value, _wilson(value, len(correct)), len(correct), "fraction", True)


def mean_accuracy(correct: Bools | Floats, name: str = "mean_accuracy", condition: str = "mean") -> Metric:
    """Unweighted mean over conditions, with an interval clustered by source image.

    The interval is Student's t on the n per-image means, cut to [0, 1]: the clustered standard error of a complete
    design. When all per-image means agree, their variance of zero says nothing about other images: the interval is then
    Wilson's on n samples, as if each image had been seen once.

    correct: (n_images, n_conditions) bool, or fractions in [0, 1] such as group means; see `matrix`.
    Raises `Undefined` when there is no image or no condition.
    """
    per_image = _fractions(correct).mean(axis=1)
    n, value = len(per_image), float(per_image.mean())
    low, high = _wilson(value, n) if np.ptp(per_image) < TINY else _student(per_image)
    return Metric(name, condition, value, (max(0.0, low), min(1.0, high)), n, "fraction", True)


def mean_value(values: Floats, name: str, condition: str, unit: str) -> Metric:
    """Mean, never negative, of one number per source image, lower being better, with Student's t interval, cut at 0.

    values: (n,) finite. Raises `Undefined` for fewer than two images.
    """
    values = np.asarray(values, dtype=np.float64)
    if len(values) < 2:
        raise Undefined(f"{name}: one image has no sampling variation; an interval needs at least two.")
    value = float(values.mean())
    low, high = (value, value) if np.ptp(values) < TINY else _student(values)
    return Metric(name, condition, value, (max(0.0, low), high), len(values), unit, False)


def mean_error(correct: Bools | Floats, name: str = "mean_error", condition: str = "mean") -> Metric:
    """One minus `mean_accuracy` of the same matrix of *correct* answers: the unnormalised cousin of `mce`."""
    mean = mean_accuracy(correct, name, condition)
    low, high = mean.interval
    return replace(mean, value=1.0 - mean.value, interval=(1.0 - high, 1.0 - low), higher_is_better=False)


def mce(errors: Floats, reference: Floats, name: str = "mce", condition: str = "mean") -> Metric:
    """Mean corruption error: mean over corruptions of the error relative to a reference model's.

    CE_c = sum_s E_{s,c} / sum_s E^ref_{s,c} and mCE = mean_c CE_c (Hendrycks & Dietterich 2019, definition of mCE).

    The interval is the percentile bootstrap over source images, paired: one resample indexes model and reference.
    A resample in which the reference makes no error in some group could have any mCE, so it counts as 0 towards the
    lower end and as infinite towards the upper end. Where all resamples agree although the models differ (a model
    without any error), each group's error rate takes the ends of Wilson's interval on n samples instead.

    errors: (n_images, n_groups) in [0, 1], each image's error averaged over the severities of one corruption.
    reference: the same of the reference model on the same images in the same order, or (n_groups,) published error
        rates, which are then taken as exact.

    Raises `Undefined` for fewer than two images, or when the reference makes no error in a group, be it on these images
    or in so many resamples that the upper end would be infinite.
    """
    errors = _fractions(errors)
    n = len(errors)
    reference = np.broadcast_to(_fractions(np.atleast_2d(reference)), errors.shape)
    rates, reference_rates = errors.mean(axis=0), reference.mean(axis=0)
    if n < 2:
        raise Undefined(f"{name}: one image has no sampling variation; an interval needs at least two.")
    if not reference_rates.all():
        group = int(np.argmin(reference_rates))
        raise Undefined(f"{name}: the reference makes no error on these {n} images in group {group} (from 0).")

    replicates = _bootstrap(errors, reference)
    unknown = ~np.isfinite(replicates)
    low = float(np.quantile(np.where(unknown, 0.0, replicates), (1 - LEVEL) / 2, method="inverted_cdf"))
    high = float(np.quantile(np.where(unknown, np.inf, replicates), (1 + LEVEL) / 2, method="inverted_cdf"))
    if np.isinf(high):
        share = f"{unknown.mean():.1%} of the resamples"
        raise Undefined(
            f"{name}: the reference makes no error in some group in {share} of these {n} images; take more."
        )
    if high - low < TINY and not np.array_equal(errors, reference):
        ends = np.array([_wilson(rate, n) for rate in rates])
        low, high = (ends / reference_rates[:, None]).mean(axis=0).tolist()
    return Metric(name, condition, float((rates / reference_rates).mean()), (low, high), n, "ratio", False)


def compare_condition(a_correct: Bools, b_correct: Bools) -> PairedResult:
    """Two models on the same samples of one condition.

    p: exact McNemar test, a binomial test on the samples that only one model gets right.
    interval: Wald's for the paired difference after adding 1/2 to each cell of the 2 x 2 table (Agresti & Min 2005,
        "Wald+2"), which keeps its coverage at small n and does not collapse when the models never disagree.

    a_correct, b_correct: (n,) bool, row by row the same samples. Raises `Undefined` when n is 0.
    """
    a, b = _bools(1, a_correct, b_correct)
    n, a_only, b_only = len(a), int((a & ~b).sum()), int((b & ~a).sum())
    p = float(mcnemar([[0, a_only], [b_only, 0]], exact=True).pvalue)
    return PairedResult((b_only - a_only) / n, _agresti_min(a_only, b_only, n), n, a_only, b_only, p, p)


def compare_clustered(a_correct: Bools, b_correct: Bools) -> PairedResult:
    """Two models on the same images under the same conditions: difference of their unweighted means.

    p: sign-flip permutation test over images: under the null hypothesis, swapping the two models' answers to an image
        (all its conditions at once) changes nothing. 20,000 random flips, (1 + as extreme) / (1 + flips) after Phipson
        & Smyth 2010, so never below 5e-5.
    interval: Student's t on the n per-image differences, cut to [-1, 1]; when these all agree, Agresti & Min's (see
        `compare_condition`) on n samples.

    a_correct, b_correct: (n_images, n_conditions) bool, the same images in the same order. Raises `Undefined` if empty.
    """
    a, b = _bools(2, a_correct, b_correct)
    n, conditions = a.shape
    rows = compare_condition(a.ravel(), b.ravel())
    net = b.sum(axis=1) - a.sum(axis=1)
    if np.ptp(net):
        low, high = _student(net / conditions)
    else:
        low, high = _agresti_min(rows.a_only / conditions, rows.b_only / conditions, n)
    return replace(rows, n=n, interval=(max(-1.0, low), min(1.0, high)), p=_sign_flip(net))


def matrix(
    ids: Sequence[str],
    conditions: Sequence[str],
    values: NDArray[Any],
    order: Sequence[str],
    images: Sequence[str] | None = None,
) -> NDArray[Any]:
    """Long rows (id, condition, value) to the complete (n_images, n_conditions) matrix, in the dtype of `values`.

    ids, conditions, values: (n_rows,) each.
    order: the conditions, which become the columns; rows of other conditions are left out.
    images: the ids, which become the rows; by default those that occur, sorted. Give it to align two models.

    Raises `HarnessError`, naming the first (id, condition), for a cell without a row, a cell with two, or a row of an
    image that is not in `images`: a mean over an incomplete design is a mean of something else.
    """
    if not len(ids) == len(conditions) == len(values):
        raise ValueError(f"{len(ids)} ids, {len(conditions)} conditions and {len(values)} values in one table")
    column_of = {name: column for column, name in enumerate(order)}
    columns = np.array([column_of.get(condition, -1) for condition in conditions], dtype=np.int64)
    kept = np.flatnonzero(columns >= 0).tolist()
    if not kept:
        raise HarnessError(f"No sample has a row under any of the conditions {list(order)}.")
    names = sorted({ids[i] for i in kept}) if images is None else list(images)
    row_of = {name: row for row, name in enumerate(names)}
    rows = np.array([row_of.get(ids[i], -1) for i in kept], dtype=np.int64)
    if (rows < 0).any():
        stray = kept[int(np.argmax(rows < 0))]
        where = f"Sample '{ids[stray]}' under '{conditions[stray]}'"
        raise HarnessError(f"{where} is not one of the {len(names)} images to be scored.")
    cells = rows * len(order) + columns[kept]
    counts = np.bincount(cells, minlength=len(names) * len(order))
    if (counts != 1).any():
        row, column = divmod(int(np.argmax(counts != 1)), len(order))
        where = f"Sample '{names[row]}' under '{order[column]}'"
        found = counts[row * len(order) + column]
        raise HarnessError(f"{where} has {found} rows instead of one: finish or repeat the run before scoring it.")
    table = np.empty(counts.size, dtype=values.dtype)
    table[cells] = values[kept]
    return table.reshape(len(names), len(order))


def _bools(ndim: int, *tables: Bools) -> tuple[Bools, ...]:
    arrays = tuple(np.asarray(table) for table in tables)
    if any(array.dtype != np.bool_ or array.ndim != ndim or array.shape != arrays[0].shape for array in arrays):
        found = ", ".join(f"{array.dtype} {array.shape}" for array in arrays)
        raise ValueError(f"expected bool arrays of {ndim} dimension(s) and one shape, got {found}")
    if not arrays[0].size:
        raise Undefined("No samples: there is nothing to take a mean of.")
    return arrays


def _fractions(values: Bools | Floats) -> Floats:
    table = np.asarray(values, dtype=np.float64)
    if table.ndim != 2 or not ((table >= 0) & (table <= 1)).all():
        raise ValueError(f"expected a matrix of finite fractions in [0, 1], got shape {table.shape}")
    if not table.size:
        raise Undefined("No samples: there is nothing to take a mean of.")
    return table


def _wilson(value: float, n: int) -> Interval:
    low, high = proportion_confint(value * n, n, alpha=1 - LEVEL, method="wilson")
    return min(float(low), value), max(float(high), value)


def _student(values: Floats) -> Interval:
    low, high = stats.t.interval(LEVEL, len(values) - 1, loc=values.mean(), scale=stats.sem(values))
    return float(low), float(high)


def _agresti_min(a_only: float, b_only: float, n: int) -> Interval:
    difference = (b_only - a_only) / (n + 2)
    variance = ((a_only + b_only + 1) / (n + 2) - difference**2) / (n + 2)
    half = stats.norm.ppf((1 + LEVEL) / 2) * np.sqrt(variance)
    return max(-1.0, float(difference - half)), min(1.0, float(difference + half))


def _sign_flip(net: NDArray[np.int64]) -> float:
    """Images with equal |net| are exchangeable, so only the number of flips among them is drawn, and ties are exact."""
    sizes, counts = np.unique(np.abs(net), return_counts=True)
    kept = generator(0, "sign-flip", "").binomial(counts, 0.5, size=(FLIPS, len(counts)))
    totals = (2 * kept - counts) @ sizes
    return float((1 + (np.abs(totals) >= abs(net.sum())).sum()) / (1 + FLIPS))


def _bootstrap(errors: Floats, reference: Floats) -> Floats:
    """One mCE per resample, (REPLICATES,); not finite where the reference has a group without error."""
    n, rng = len(errors), generator(0, "bootstrap", "")
    replicates = np.empty(REPLICATES)
    chunk = max(1, 2**22 // n)
    for start in range(0, REPLICATES, chunk):
        part = replicates[start : start + chunk]
        weights = rng.multinomial(n, np.full(n, 1 / n), size=len(part)).astype(np.float64)
        with np.errstate(divide="ignore", invalid="ignore"):
            part[:] = ((weights @ errors) / (weights @ reference)).mean(axis=1)
    # Matrix products round differently on other processors and thread counts; metrics should not.
    return replicates.round(12)
