"""Metrics against published values, hand arithmetic, other libraries and simulated truth."""

from __future__ import annotations

from statistics import harmonic_mean, mean

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats
from statsmodels.stats.proportion import proportion_confint

from harness.metrics.accuracy import accuracy, matrix, mce, mean_accuracy, mean_error
from harness.metrics.intervals import Undefined
from harness.metrics.paired import compare_clustered, compare_condition, holm
from harness.types import HarnessError


def answers(right: int, n: int) -> NDArray[np.bool_]:
    return np.arange(n) < right


def correlated(rng: np.random.Generator, images: int, conditions: int) -> NDArray[np.bool_]:
    """Easy and hard images: an image's chance of a right answer is Beta(0.8, 0.4), with mean 2/3."""
    return rng.random((images, conditions)) < rng.beta(0.8, 0.4, size=(images, 1))


@pytest.mark.parametrize(
    ("right", "n", "interval"),
    [(8, 10, (0.4439, 0.9748)), (0, 10, (0.0, 0.3085)), (10, 10, (0.6915, 1.0)), (81, 263, (0.2527, 0.3676))],
)
def test_accuracy_has_clopper_and_pearsons_interval(right: int, n: int, interval: tuple[float, float]) -> None:
    """The last row is example 1 of Newcombe 1998, "Two-sided confidence intervals for the single proportion"."""
    metric = accuracy(answers(right, n), "clean")
    assert metric.interval == pytest.approx(interval, abs=5e-5)
    assert (metric.value, metric.n, metric.condition, metric.unit) == (right / n, n, "clean", "fraction")
    assert metric.interval[0] <= metric.value <= metric.interval[1]


def test_clustered_interval_covers_the_truth_where_one_over_rows_does_not() -> None:
    rng = np.random.default_rng(0)
    truth, designs, clustered, independent = 2 / 3, 300, 0, 0
    for _ in range(designs):
        correct = correlated(rng, images=80, conditions=15)
        low, high = mean_accuracy(correct).interval
        clustered += low <= truth <= high
        low, high = proportion_confint(correct.sum(), correct.size, method="wilson")
        independent += low <= truth <= high
    assert 0.94 < clustered / designs < 0.99
    assert independent / designs < 0.6


def test_mean_accuracy_of_one_condition_has_the_interval_of_accuracy() -> None:
    for right in (0, 1, 30, 50):
        correct = answers(right, 50)
        assert mean_accuracy(correct[:, None]).interval == accuracy(correct, "clean").interval
        assert mean_accuracy(np.repeat(correct[:, None], 4, axis=1)).interval == accuracy(correct, "clean").interval


def test_means_that_all_agree_are_not_certain() -> None:
    """Below 1/2 by what 10 images leave open, but by less than if each image had been right or wrong."""
    assert mean_accuracy(np.ones((10, 75), bool)).interval == pytest.approx((0.6915, 1.0), abs=5e-5)
    half = np.tile([[True, False], [False, True]], (5, 1))
    assert mean_accuracy(half).interval == pytest.approx((0.3457514, 0.6542486))
    assert mean_accuracy(np.array([[True, False]])).interval == pytest.approx((0.0125, 0.9875))


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
    assert hits / 40 > 0.85


def test_mce_of_a_perfect_model_is_not_certain() -> None:
    low, high = mce(np.zeros((50, 2)), np.array([1.0, 0.5])).interval
    assert (low, high) == pytest.approx((0.0, proportion_confint(0, 50, method="beta")[1] * (1 / 1.0 + 1 / 0.5) / 2))


def test_mce_by_published_rates_has_the_interval_of_a_mean() -> None:
    errors = 1.0 - correlated(np.random.default_rng(12), 40, 3)
    metric, mean = mce(errors, np.array([0.5, 0.5, 0.5])), mean_error(errors == 0)
    assert metric.interval == pytest.approx([2 * end for end in mean.interval])


def test_mce_by_answers_approaches_that_by_published_rates() -> None:
    """A reference that errs on every image has an error rate of 1, by its answers and as published."""
    errors = 1.0 - correlated(np.random.default_rng(13), 200, 3)
    by_answers, published = mce(errors, np.ones((200, 3))), mce(errors, np.ones(3))
    assert by_answers.value == published.value
    assert by_answers.interval == pytest.approx(published.interval, abs=0.006)


def test_mce_is_undefined_when_the_reference_does_not_err() -> None:
    reference = np.ones((100, 2))
    reference[:, 1] = 0
    with pytest.raises(Undefined, match="reference makes no error"):
        mce(np.ones((100, 2)), reference)


def test_few_errors_of_the_reference_leave_mce_open() -> None:
    """Its error rate on 4 of 100 images may be 1 %, and so mCE 100 where its estimate is 25."""
    reference = (np.arange(100) < 4).astype(float)[:, None]
    metric = mce(np.ones((100, 1)), reference)
    least, most = proportion_confint(4, 100, method="beta")
    assert metric.value == 25
    assert metric.interval == pytest.approx((1 / most, 1 / least), rel=0.1)
    assert mce(reference, reference).interval == (1, 1)


@pytest.mark.parametrize("n", [30, 100])
def test_intervals_of_mce_hold_where_errors_are_few(n: int) -> None:
    """In 94 % of 300 samples or more, less two standard errors; the percentile bootstrap holds in 82 to 91 %."""
    rng, hits = np.random.default_rng(n), 0
    for _ in range(300):
        errors = rng.random((n, 5)) < rng.beta(0.02, 0.98, (n, 1))
        low, high = mce(1.0 * errors, np.full(5, 0.04)).interval
        hits += low <= 0.5 <= high
    assert hits / 300 > 0.94 - 2 * np.sqrt(0.94 * 0.06 / 300)


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
    assert 0.95 < coverage(12, 0.1, 0.25) < 1
    assert 0.95 < coverage(12, 0.02, 0.03) <= 1


def test_models_that_never_disagree_are_not_certainly_equal() -> None:
    one = compare_condition(answers(5, 20), answers(5, 20))
    several = compare_clustered(np.tile(answers(5, 20)[:, None], 4), np.tile(answers(5, 20)[:, None], 4))
    for result in (one, several):
        assert (result.difference, result.p) == (0, 1)
        assert result.interval == pytest.approx((-0.1684335, 0.1684335))


def test_comparison_is_antisymmetric() -> None:
    rng = np.random.default_rng(5)
    a, b = correlated(rng, 40, 5), correlated(rng, 40, 5)
    there, back = compare_clustered(a, b), compare_clustered(b, a)
    assert there.difference == pytest.approx(b.mean() - a.mean())
    assert there.difference == -back.difference != 0
    assert there.interval == pytest.approx((-back.interval[1], -back.interval[0]))
    assert (there.a_only, there.p) == (back.b_only, back.p)


def test_one_condition_is_compared_as_a_matrix_of_one() -> None:
    a, b = answers(17, 30), answers(17, 30) ^ ((np.arange(30) < 2) | (np.arange(30) >= 21))
    alone = compare_condition(a, b)
    assert compare_clustered(a[:, None], b[:, None]) == alone
    several = compare_clustered(np.repeat(a[:, None], 3, axis=1), np.repeat(b[:, None], 3, axis=1))
    assert (several.p, several.interval) == (pytest.approx(alone.p), alone.interval)
    assert several.p_rows is None


def test_the_paired_test_agrees_with_its_interval() -> None:
    rng = np.random.default_rng(6)
    decided = set()
    for gain in (0.0, 0.1, 0.2, 0.4):
        for _ in range(5):
            a = correlated(rng, 60, 5)
            result = compare_clustered(a, a | (rng.random(a.shape) < gain))
            assert (result.p < 0.05) == (result.interval[0] > 0 or result.interval[1] < 0)
            decided.add(result.p < 0.05)
    assert decided == {False, True}


@pytest.mark.parametrize("n", [30, 100])
def test_equal_means_are_not_told_apart_however_skewed(n: int) -> None:
    """B is wrong throughout on 5 % of the images and a little better on the others: a sign-flip test rejects in 12 %
    of the samples and more.
    """
    rng, rejected, flipped = np.random.default_rng(n), 0, 0
    for _ in range(200):
        lost = rng.random((n, 1)) < 0.05
        hard = rng.random((n, 15))
        a, b = hard < 0.8, ~lost & (hard < 0.8 / 0.95)
        rejected += compare_clustered(a, b).p < 0.05
        net = b.sum(1) - a.sum(1)
        flipped += np.mean(np.abs(rng.choice([-1, 1], (500, n)) @ net) >= abs(net.sum())) < 0.05
    assert rejected / 200 < 0.05 + 2 * np.sqrt(0.05 * 0.95 / 200)
    assert flipped / 200 > 0.09


def test_clustered_comparison_finds_a_real_difference() -> None:
    rng = np.random.default_rng(8)
    a = correlated(rng, 200, 10)
    result = compare_clustered(a, a | (rng.random(a.shape) < 0.2))
    assert result.p < 1e-4
    assert result.interval[0] > 0.03 and result.a_only == 0


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5]) == [0.5] and holm([]) == []


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
