"""Numbers from columns: pure functions of numpy arrays.

Scale: accuracies and errors are fractions in [0, 1] (unit "fraction"); the mean corruption error is a multiple of the
reference model's (unit "ratio", 1.0 is the reference). Tables multiply both by 100.

Sampling unit: the source image. One image under 75 corruptions is one draw from the world, not 75, so intervals and
tests resample, or average within, images. All intervals are two-sided at 95 %; how, `harness.intervals` says. Simulated
ones are seeded: the same columns give the same metric.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests

from harness import intervals
from harness.intervals import TAIL, Bools, Floats, Interval
from harness.intervals import Undefined as Undefined
from harness.noise import generator
from harness.types import HarnessError, Metric

REPLICATES = 5_000

COVERS: Mapping[str, str] = {
    "ece": "ECE's interval is for the expected calibration error in these 15 bins over all such images, whose estimate "
    "here is biased upwards; it begins at 0 unless calibration is rejected at 2.5 %.",
    "nll": "NLL's interval allows for unseen images with a loss of 10 nats, or of twice the worst one seen.",
}
"""By metric, a sentence for the captions of tables whose intervals cover something else than sampling of images."""


@dataclass(frozen=True)
class PairedResult:
    """Model b against model a on the same samples.

    difference: accuracy of b minus accuracy of a, in [-1, 1]; positive when b is better.
    interval: 95 % interval of the difference.
    n: source images.
    a_only, b_only: rows that only a, or only b, gets right.
    p: two-sided p-value of equal means, over source images; below 5 % exactly where the interval leaves out 0.
    p_rows: exact McNemar p-value over rows; None where an image has several, which are not independent.
    """

    difference: float
    interval: Interval
    n: int
    a_only: int
    b_only: int
    p: float
    p_rows: float | None


def accuracy(correct: Bools, condition: str, name: str = "accuracy") -> Metric:
    """Fraction of correct samples, with the interval of Clopper & Pearson 1934.

    Wilson's holds an accuracy of 99.5 % in 86 % of samples of 30 images, and in 91 % of samples of 100.

    correct: (n,) bool, one row per source image. Raises `Undefined` when n is 0.
    """
    (correct,) = _bools(1, correct)
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
    With the reference's answers it is a bootstrap over images, paired, as `harness.intervals` weighs them: for the
    upper end with one more image that the model gets wrong and the reference right, for the lower end the other way
    round.
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


def compare_condition(a_correct: Bools, b_correct: Bools) -> PairedResult:
    """Two models on the same samples of one condition.

    p: exact McNemar test, a binomial test on the samples that only one model gets right. The interval is the one of
    `harness.intervals` for differences, which leaves out 0 exactly where p is below 5 %.

    a_correct, b_correct: (n,) bool, row by row the same samples. Raises `Undefined` when n is 0.
    """
    a, b = _bools(1, a_correct, b_correct)
    n, a_only, b_only = len(a), int((a & ~b).sum()), int((b & ~a).sum())
    p = float(mcnemar([[0, a_only], [b_only, 0]], exact=True).pvalue)
    interval = intervals.of_mean(b.astype(float) - a, -1.0, 1.0)
    return PairedResult((b_only - a_only) / n, interval, n, a_only, b_only, p, p)


def compare_clustered(a_correct: Bools, b_correct: Bools) -> PairedResult:
    """Two models on the same images under the same conditions: difference of their unweighted means.

    p: that the means over all such images are equal, not that the models are exchangeable, however skewed the
        differences are: a model that is a little better on most images and wrong throughout on a few unseen ones is
        not called better. A sign-flip test, studentised or not, calls it so: it takes differences for symmetric.

    a_correct, b_correct: (n_images, n_conditions) bool, the same images in the same order. Raises `Undefined` if empty.
    """
    a, b = _bools(2, a_correct, b_correct)
    if a.shape[1] == 1:
        return compare_condition(a[:, 0], b[:, 0])
    a_only, b_only = int((a & ~b).sum()), int((b & ~a).sum())
    differences = b.mean(axis=1) - a.mean(axis=1)
    return PairedResult(
        difference=(b_only - a_only) / a.size,
        interval=intervals.of_mean(differences, -1.0, 1.0),
        n=len(a),
        a_only=a_only,
        b_only=b_only,
        p=intervals.p_value(differences, -1.0, 1.0),
        p_rows=None,
    )


def holm(p: Sequence[float]) -> list[float]:
    """p-values adjusted for their number (Holm 1979): below 5 % where the whole table's error rate is kept at 5 %."""
    return [float(value) for value in multipletests(p, method="holm")[1]] if len(p) else []


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
