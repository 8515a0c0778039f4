"""Metrics against published values, hand arithmetic, other libraries and simulated truth."""

from __future__ import annotations

from statistics import harmonic_mean, mean

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats
from statsmodels.stats.proportion import proportion_confint

from harness.metrics import (
    Undefined,
    accuracy,
    compare_clustered,
    compare_condition,
    matrix,
    mce,
    mean_accuracy,
    mean_error,
)
from harness.types import HarnessError


def answers(right: int, n: int) -> NDArray[np.bool_]:
    return np.arange(n) < right


def correlated(rng: np.random.Generator, images: int, conditions: int) -> NDArray[np.bool_]:
    """Easy and hard images: an image's chance of a right answer is Beta(0.8, 0.4), with mean 2/3."""
    return rng.random((images, conditions)) < rng.beta(0.8, 0.4, size=(images, 1))


@pytest.mark.parametrize(
    ("right", "n", "interval"),
    [(8, 10, (0.4902, 0.9433)), (0, 10, (0.0, 0.2775)), (10, 10, (0.7225, 1.0)), (81, 263, (0.2553, 0.3662))],
)
def test_accuracy_has_wilsons_interval(right: int, n: int, interval: tuple[float, float]) -> None:
    """The last row is example 1 of Newcombe 1998, "Two-sided confidence intervals for the single proportion"."""
    metric = accuracy(answers(right, n), "clean")
    assert metric.interval == pytest.approx(interval, abs=5e-5)
    assert (metric.value, metric.n, metric.condition, metric.unit) == (right / n, n, "clean", "fraction")
    assert metric.interval[0] <= metric.value <= metric.interval[1]


def test_clustered_interval_covers_the_truth_where_one_over_rows_does_not() -> None:
    rng = np.random.default_rng(0)
    truth, designs, clustered, independent = 2 / 3, 1000, 0, 0
    for _ in range(designs):
        correct = correlated(rng, images=80, conditions=15)
        low, high = mean_accuracy(correct).interval
        clustered += low <= truth <= high
        low, high = proportion_confint(correct.sum(), correct.size, method="wilson")
        independent += low <= truth <= high
    assert 0.93 < clustered / designs < 0.97
    assert independent / designs < 0.6


def test_mean_accuracy_of_one_condition_agrees_with_a_one_sample_t_interval() -> None:
    correct = answers(30, 50)[:, None]
    expected = stats.ttest_1samp(correct[:, 0].astype(float), 0).confidence_interval(0.95)
    assert mean_accuracy(correct).interval == pytest.approx((expected.low, expected.high))


def test_mean_accuracy_without_variance_falls_back_to_one_sample_per_image() -> None:
    assert mean_accuracy(np.ones((10, 75), bool)).interval == pytest.approx((0.7225, 1.0), abs=5e-5)
    half = np.tile([[True, False], [False, True]], (5, 1))
    assert mean_accuracy(half).interval == pytest.approx(proportion_confint(5, 10, method="wilson"))
    low, high = mean_accuracy(np.array([[True, False]])).interval
    assert low < 0.1 and high > 0.9


def test_mean_error_mirrors_mean_accuracy() -> None:
    correct = correlated(np.random.default_rng(1), 40, 6)
    right, wrong = mean_accuracy(correct), mean_error(correct)
    assert wrong.value == pytest.approx((~correct).mean())
    assert wrong.interval == pytest.approx((1 - right.interval[1], 1 - right.interval[0]))
    assert right.higher_is_better and not wrong.higher_is_better


def test_means_weigh_group_fractions_as_given() -> None:
    assert mean_accuracy(np.array([[0.2, 1.0], [0.4, 0.0]])).value == pytest.approx(0.4)


def test_mce_by_hand() -> None:
    """CE is 0.75 / 1.0 and 0.25 / 0.5: mean 0.625. A ratio of means would be 1.0 / 1.5."""
    errors = np.array([[1.0, 0.0], [0.5, 0.5]])
    assert mce(errors, np.array([1.0, 0.5])).value == pytest.approx(0.625)


def test_mce_with_published_reference_rates() -> None:
    """AlexNet's error rates on ImageNet-C: a model with one rate everywhere has that rate over their harmonic mean."""
    alexnet = [0.886428, 0.894468, 0.922640, 0.819880, 0.826268, 0.785948, 0.798360]
    alexnet += [0.866816, 0.826572, 0.819324, 0.564592, 0.853204, 0.646056, 0.717840, 0.606500]
    metric = mce(np.full((4, 15), 0.6), np.array(alexnet))
    assert metric.value == pytest.approx(0.6 / harmonic_mean(alexnet))
    assert metric.value != pytest.approx(0.6 / mean(alexnet), abs=0.01)
    assert (metric.unit, metric.higher_is_better, metric.n) == ("ratio", False, 4)


def test_mce_of_the_reference_is_exactly_one() -> None:
    errors = 1.0 - correlated(np.random.default_rng(2), 60, 15)
    metric = mce(errors, errors)
    assert metric.value == 1.0
    assert metric.interval == (1.0, 1.0)


def test_mce_interval_is_paired_and_reproducible() -> None:
    rng = np.random.default_rng(3)
    reference = 1.0 - correlated(rng, 300, 5)
    errors = reference * (rng.random((300, 5)) < 0.9)
    paired, unpaired = mce(errors, reference), mce(errors, rng.permutation(reference))
    assert paired.interval[0] < paired.value < paired.interval[1]
    assert np.ptp(paired.interval) < np.ptp(unpaired.interval) / 2
    assert mce(errors, reference) == paired


def test_mce_interval_covers_the_truth() -> None:
    rng = np.random.default_rng(4)
    hits = 0
    for _ in range(40):
        hard = rng.beta(2, 2, size=(80, 1))
        low, high = mce(1.0 * (rng.random((80, 4)) < 0.6 * hard), 1.0 * (rng.random((80, 4)) < hard)).interval
        hits += low <= 0.6 <= high
    assert 0.85 <= hits / 40 < 1


def test_mce_of_a_perfect_model_is_not_certain() -> None:
    low, high = mce(np.zeros((50, 2)), np.array([1.0, 0.5])).interval
    wilson = proportion_confint(0, 50, method="wilson")[1]
    assert (low, high) == pytest.approx((0.0, wilson * (1 / 1.0 + 1 / 0.5) / 2))


@pytest.mark.parametrize("erring", [0, 1, 3])
def test_mce_is_undefined_when_the_reference_hardly_errs(erring: int) -> None:
    reference = np.ones((100, 2))
    reference[erring:, 1] = 0
    with pytest.raises(Undefined, match="reference makes no error"):
        mce(np.ones((100, 2)), reference)


def test_resamples_without_reference_errors_count_as_the_worst_case() -> None:
    """With 4 erring images of 100, 1.7 % of resamples have none. They take their share of the 2.5 % at either end."""
    reference = (np.arange(100) < 4).astype(float)[:, None]
    metric = mce(np.ones((100, 1)), reference)
    erring = stats.binom(100, 0.04)
    assert erring.pmf(0) < 0.025 < erring.cdf(1)
    assert metric.value == 25
    assert metric.interval == pytest.approx((100 / erring.isf(0.025 - erring.pmf(0)), 100 / 1))
    assert metric.interval[0] < 100 / erring.isf(0.025)
    assert mce(reference, reference).interval == (1, 1)


def test_compare_condition_is_the_exact_mcnemar_test() -> None:
    """2 against 9 discordant samples among 30."""
    a = answers(17, 30)
    b = a ^ ((np.arange(30) < 2) | (np.arange(30) >= 21))
    result = compare_condition(a, b)
    assert (result.a_only, result.b_only, result.n) == (2, 9, 30)
    assert result.difference == pytest.approx(7 / 30)
    assert result.p == result.p_rows == pytest.approx(stats.binomtest(2, 11).pvalue)
    assert result.difference == pytest.approx(7 / 30)


def coverage(n: int, a_only: float, b_only: float) -> float:
    """Probability that the interval of n samples holds the true difference, summed over all 2 x 2 tables."""
    total = 0.0
    for b in range(n + 1):
        for a in range(n + 1 - b):
            result = compare_condition(np.arange(n) < a, (np.arange(n) >= a) & (np.arange(n) < a + b))
            low, high = result.interval
            if low <= b_only - a_only <= high:
                total += stats.multinomial.pmf([a, b, n - a - b], n, [a_only, b_only, 1 - a_only - b_only])
    return total


def test_paired_interval_keeps_its_coverage_at_small_n() -> None:
    assert 0.94 < coverage(20, 0.1, 0.25) < 0.99
    assert 0.94 < coverage(20, 0.05, 0.05) <= 1


def test_models_that_never_disagree_are_not_certainly_equal() -> None:
    one = compare_condition(answers(5, 20), answers(5, 20))
    several = compare_clustered(np.tile(answers(5, 20)[:, None], 4), np.tile(answers(5, 20)[:, None], 4))
    for result in (one, several):
        assert (result.difference, result.p) == (0, 1)
        assert result.interval == pytest.approx((-1.96 / 22, 1.96 / 22), abs=1e-5)


def test_comparison_is_antisymmetric() -> None:
    rng = np.random.default_rng(5)
    a, b = correlated(rng, 40, 5), correlated(rng, 40, 5)
    there, back = compare_clustered(a, b), compare_clustered(b, a)
    assert there.difference == pytest.approx(b.mean() - a.mean())
    assert there.difference == -back.difference != 0
    assert there.interval == pytest.approx((-back.interval[1], -back.interval[0]))
    assert (there.a_only, there.p) == (back.b_only, back.p)


def test_clustered_comparison_agrees_with_scipy() -> None:
    rng = np.random.default_rng(6)
    a = correlated(rng, 12, 5)
    b = a | (rng.random((12, 5)) < 0.2 * (rng.random((12, 1)) < 0.7))
    b[0] = False
    result = compare_clustered(a, b)
    differences = b.mean(axis=1) - a.mean(axis=1)
    exact = stats.permutation_test((differences,), np.mean, permutation_type="samples", n_resamples=np.inf)
    assert result.p == pytest.approx(exact.pvalue, abs=0.012)
    assert 0.05 < exact.pvalue < 0.95
    student = stats.ttest_1samp(differences, 0).confidence_interval(0.95)
    assert result.interval == pytest.approx((student.low, student.high))
    assert result.p_rows == pytest.approx(stats.binomtest(result.a_only, result.a_only + result.b_only).pvalue)


def test_clustered_p_value_is_uniform_under_the_null_where_the_one_over_rows_is_not() -> None:
    """Both models are as good, and each has images of its own that it gets wrong under all conditions."""
    rng = np.random.default_rng(7)
    p, p_rows = [], []
    for _ in range(200):
        a, b = (np.repeat(rng.random((50, 1)) < 0.6, 10, axis=1) ^ (rng.random((50, 10)) < 0.1) for _ in range(2))
        result = compare_clustered(a, b)
        p.append(result.p)
        p_rows.append(result.p_rows)
    assert stats.kstest(p, "uniform").pvalue > 0.01
    assert np.mean(np.array(p_rows) < 0.05) > 0.3


def test_clustered_comparison_finds_a_real_difference() -> None:
    rng = np.random.default_rng(8)
    a = correlated(rng, 200, 10)
    result = compare_clustered(a, a | (rng.random(a.shape) < 0.2))
    assert result.p == 1 / 20_001
    assert result.interval[0] > 0 and result.a_only == 0


IDS = ["b", "a", "a", "b", "a"]
CONDITIONS = ["fog/1", "fog/1", "snow/1", "snow/1", "clean"]
VALUES = np.array([1, 2, 3, 4, 5])


def test_matrix_pivots_rows_in_any_order() -> None:
    table = matrix(IDS, CONDITIONS, VALUES, ["snow/1", "fog/1"])
    assert table.tolist() == [[3, 2], [4, 1]]
    assert table.dtype == VALUES.dtype
    assert matrix(IDS, CONDITIONS, VALUES, ["snow/1", "fog/1"], images=["b", "a"]).tolist() == [[4, 1], [3, 2]]


@pytest.mark.parametrize(
    ("order", "images", "message"),
    [
        (["fog/1", "clean"], None, "'b' under 'clean' has 0 rows"),
        (["fog/1", "snow/1"], ["a", "b", "c"], "'c' under 'fog/1' has 0 rows"),
        (["fog/1", "snow/1"], ["a"], "'b' under 'fog/1' is not one of the 1 images"),
        (["frost/1"], None, "No sample has a row"),
    ],
)
def test_matrix_refuses_an_incomplete_design(order: list[str], images: list[str] | None, message: str) -> None:
    with pytest.raises(HarnessError, match=message):
        matrix(IDS, CONDITIONS, VALUES, order, images)


def test_matrix_refuses_a_repeated_row() -> None:
    with pytest.raises(HarnessError, match="'a' under 'fog/1' has 2 rows"):
        matrix([*IDS, "a"], [*CONDITIONS, "fog/1"], np.append(VALUES, 2), ["fog/1", "snow/1"])


def test_nothing_is_computed_from_no_samples() -> None:
    nothing = np.zeros((0, 3), bool)
    with pytest.raises(Undefined, match="No samples"):
        accuracy(nothing[:, 0], "clean")
    with pytest.raises(Undefined, match="No samples"):
        mean_error(nothing)
    with pytest.raises(Undefined, match="No samples"):
        compare_clustered(nothing, nothing)
    with pytest.raises(Undefined, match="one image"):
        mce(np.ones((1, 2)), np.ones((1, 2)))


def test_wrong_inputs_raise_instead_of_being_cast() -> None:
    with pytest.raises(ValueError, match="bool"):
        accuracy(np.array([0.9, 0.2]), "clean")
    with pytest.raises(ValueError, match="one shape"):
        compare_condition(answers(1, 3), answers(1, 4))
    with pytest.raises(ValueError, match="fractions"):
        mean_accuracy(np.array([[np.nan, 0.5]]))
    with pytest.raises(ValueError, match="fractions"):
        mce(np.array([[76.7]]), np.array([1.0]))
