"""Accuracies and errors with intervals: pure functions of numpy arrays.

Scale: accuracies and errors are fractions in [0, 1] (unit "fraction"); the mean corruption error is a multiple of the
reference model's (unit "ratio", 1.0 is the reference). Tables multiply both by 100.

Sampling unit: the source image. One image under 75 corruptions is one draw from the world, not 75, so intervals and
tests resample, or average within, images. All intervals are two-sided at 95 %; `harness.metrics.intervals` says how
they are computed. Simulated ones are seeded: the same columns give the same metric.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.base.noise import generator
from harness.metrics import intervals
from harness.metrics.intervals import TAIL, Bools, Floats, Interval, Undefined
from harness.types import HarnessError, Metric

REPLICATES = 5_000
"""Random weights of the images for each end of the interval of `mce`."""


def accuracy(correct: Bools, condition: str, name: str = "accuracy") -> Metric:
    """Fraction of correct samples, with the interval of Clopper & Pearson 1934.

    Wilson's holds an accuracy of 99.5 % in 86 % of samples of 30 images, and in 91 % of samples of 100.

    correct: (n,) bool, one row per source image. Raises `Undefined` when n is 0.
    """
    (correct,) = as_bools(1, correct)
    return Metric(
        name,
        condition,
        float(correct.mean()),
        intervals.of_mean(correct.astype(np.float64)),
        len(correct),
        "fraction",
        True,
    )


def mean_accuracy(correct: Bools | Floats, name: str = "mean_accuracy", condition: str = "mean") -> Metric:
    """Unweighted mean over conditions, with an interval clustered by source image: that of the n per-image means.

    correct: (n_images, n_conditions) bool, or fractions in [0, 1] such as group means; see `matrix`. One column of
        bools has the interval of `accuracy`.
    Raises `Undefined` when there is no image or no condition.
    """
    per_image = _fractions(correct).mean(axis=1)
    value, interval = float(per_image.mean()), intervals.of_mean(per_image)
    return Metric(name, condition, value, interval, len(per_image), "fraction", True)


def mean_value(values: Floats, name: str, condition: str, unit: str, largest: float) -> Metric:
    """Mean of one number per source image, lower being better, with an interval for numbers between 0 and `largest`.

    values: (n,) in [0, largest]. Raises `Undefined` for fewer than two images.
    """
    values = np.asarray(values, dtype=np.float64)
    if len(values) < 2:
        raise Undefined(f"{name}: one image has no sampling variation; an interval needs at least two.")
    interval = intervals.of_mean(values, 0.0, largest)
    return Metric(name, condition, float(values.mean()), interval, len(values), unit, False)


def mean_error(correct: Bools | Floats, name: str = "mean_error", condition: str = "mean") -> Metric:
    """One minus `mean_accuracy` of the same matrix of *correct* answers: the unnormalised cousin of `mce`."""
    mean = mean_accuracy(correct, name, condition)
    low, high = mean.interval
    return replace(mean, value=1.0 - mean.value, interval=(1.0 - high, 1.0 - low), higher_is_better=False)


def mce(errors: Floats, reference: Floats, name: str = "mce", condition: str = "mean") -> Metric:
    """Mean corruption error: mean over corruptions of the error relative to a reference model's.

    CE_c = sum_s E_{s,c} / sum_s E^ref_{s,c} and mCE = mean_c CE_c (Hendrycks & Dietterich 2019, definition of mCE).

    With published rates mCE is a mean over images of numbers between 0 and mean_c 1 / E^ref_c, and so is the interval.
    With the reference's answers it is a bootstrap over images, paired, as `harness.metrics.intervals` weighs them:
    for the upper end with one more image that the model gets wrong and the reference right, for the lower end the other
    way round.
    A model with the reference's very answers has exactly 1.

    errors: (n_images, n_groups) in [0, 1], each image's error averaged over the severities of one corruption.
    reference: the same of the reference model on the same images in the same order, or (n_groups,) published error
        rates, which are then taken as exact.

    Raises `Undefined` for fewer than two images, or when the reference makes no error in a group.
    """
    errors = _fractions(errors)
    n, exact = len(errors), np.ndim(reference) < 2
    reference = np.broadcast_to(_fractions(np.atleast_2d(reference)), errors.shape)
    rates, reference_rates = errors.mean(axis=0), reference.mean(axis=0)
    if n < 2:
        raise Undefined(f"{name}: one image has no sampling variation; an interval needs at least two.")
    if not reference_rates.all():
        group = int(np.argmin(reference_rates))
        raise Undefined(f"{name}: the reference makes no error on these {n} images in group {group} (from 0).")
    if exact:
        interval = intervals.of_mean((errors / reference_rates).mean(axis=1), 0.0, float((1 / reference_rates).mean()))
    elif np.array_equal(errors, reference):
        interval = 1.0, 1.0
    else:
        interval = _bootstrap(errors, reference)
    return Metric(name, condition, float((rates / reference_rates).mean()), interval, n, "ratio", False)


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
    scored = np.flatnonzero(columns >= 0).tolist()
    if not scored:
        raise HarnessError(f"No sample has a row under any of the conditions {list(order)}.")
    names = sorted({ids[i] for i in scored}) if images is None else list(images)
    row_of = {name: row for row, name in enumerate(names)}
    rows = np.array([row_of.get(ids[i], -1) for i in scored], dtype=np.int64)
    if (rows < 0).any():
        stray = scored[int(np.argmax(rows < 0))]
        where = f"Sample '{ids[stray]}' under '{conditions[stray]}'"
        raise HarnessError(f"{where} is not one of the {len(names)} images to be scored.")
    cells = rows * len(order) + columns[scored]
    counts = np.bincount(cells, minlength=len(names) * len(order))
    if (counts != 1).any():
        row, column = divmod(int(np.argmax(counts != 1)), len(order))
        where = f"Sample '{names[row]}' under '{order[column]}'"
        rows_here = counts[row * len(order) + column]
        raise HarnessError(f"{where} has {rows_here} rows instead of one: finish or repeat the run before scoring it.")
    table = np.empty(counts.size, dtype=values.dtype)
    table[cells] = values[scored]
    return table.reshape(len(names), len(order))


def as_bools(ndim: int, *tables: Bools) -> tuple[Bools, ...]:
    """Tables of answers as arrays of one shape with `ndim` dimensions.

    Raises ValueError for other types or shapes, `Undefined` where the tables are empty.
    """
    arrays = tuple(np.asarray(table) for table in tables)
    if any(array.dtype != np.bool_ or array.ndim != ndim or array.shape != arrays[0].shape for array in arrays):
        shapes = ", ".join(f"{array.dtype} {array.shape}" for array in arrays)
        raise ValueError(f"expected bool arrays of {ndim} dimension(s) and one shape, got {shapes}")
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


def _bootstrap(errors: Floats, reference: Floats) -> Interval:
    """Ends of mCE's interval over random weights of the images and of one that decides against the end."""
    n, rng = len(errors), generator(0, "bootstrap", "")
    lower, upper = np.empty(REPLICATES), np.empty(REPLICATES)
    chunk = max(1, 2**22 // n)
    for start in range(0, REPLICATES, chunk):
        part = slice(start, min(start + chunk, REPLICATES))
        weights = rng.standard_exponential((part.stop - start, n + 1))
        more, wrong, expected = weights[:, n:], weights[:, :n] @ errors, weights[:, :n] @ reference
        lower[part] = (wrong / (expected + more)).mean(axis=1)
        upper[part] = ((wrong + more) / expected).mean(axis=1)
    # Matrix products round differently on other processors and thread counts; metrics should not.
    low, high = np.quantile(lower, TAIL, method="inverted_cdf"), np.quantile(upper, 1 - TAIL, method="inverted_cdf")
    return float(low.round(intervals.DIGITS)), float(high.round(intervals.DIGITS))
