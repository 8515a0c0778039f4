"""Intervals of bounded means against classical ones, random weights, and simulated truth."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats
from statsmodels.stats.proportion import proportion_confint

from harness.metrics import calibration, intervals
from harness.metrics.accuracy import mean_value
from harness.metrics.intervals import Undefined

Array = NDArray[np.floating[Any]]


@pytest.mark.parametrize("n", [2, 30, 600, 50_000])
def test_shares_have_clopper_and_pearsons_interval_by_either_way(n: int) -> None:
    """In closed form where all values are 0 or 1; by the contour integral where one is a rounding off."""
    for right in {0, 1, n // 2, n - 1, n}:
        values = (np.arange(n) < right).astype(float)
        expected = np.nan_to_num(proportion_confint(right, n, method="beta"), nan=float(right == n))
        low, high = intervals.of_mean(values)
        assert (low, high) == pytest.approx(expected, abs=1e-9)
        near = values.clip(2e-9, 1 - 2e-9)
        assert intervals.of_mean(near) == pytest.approx((low, high), abs=1e-8)


def test_ends_are_quantiles_of_randomly_weighted_means() -> None:
    rng = np.random.default_rng(0)
    for values in (rng.random(3), rng.integers(0, 16, 40) / 15, np.append(np.zeros(80), [0.1, 0.2, 1.0])):
        weights = rng.dirichlet(np.ones(len(values) + 1), 100_000)
        lower, upper = weights[:, 1:] @ values, weights @ np.append(1.0, values)
        low, high = intervals.of_mean(values)
        assert np.mean(lower < low) == pytest.approx(0.025, abs=0.002)
        assert np.mean(upper > high) == pytest.approx(0.025, abs=0.002)


def test_intervals_follow_their_scale_and_mirror() -> None:
    values = np.random.default_rng(1).beta(0.2, 2.0, 50)
    low, high = intervals.of_mean(values)
    assert intervals.of_mean(1 - values) == pytest.approx((1 - high, 1 - low), abs=1e-9)
    assert intervals.of_mean(3 * values - 1, -1.0, 2.0) == pytest.approx((3 * low - 1, 3 * high - 1), abs=1e-9)


def test_a_large_sample_has_student_s_interval_in_little_time() -> None:
    values = np.random.default_rng(2).beta(5, 2, 50_000)
    student = stats.t.interval(0.95, 49_999, values.mean(), stats.sem(values))
    assert intervals.of_mean(values) == pytest.approx(student, abs=1e-4)


def test_p_values_are_below_5_percent_where_the_interval_ends() -> None:
    values = np.random.default_rng(3).integers(-5, 6, 40) / 5
    for end in intervals.of_mean(values, -1.0, 1.0):
        assert intervals.p_value(values, -1.0, 1.0, end) == pytest.approx(0.05, abs=1e-6)
    assert intervals.p_value(values, -1.0, 1.0, -0.9) < 1e-9
    assert intervals.p_value(np.zeros(9), -1.0, 1.0) == 1


def independent(rng: np.random.Generator, n: int, error: float) -> Array:
    return np.asarray((rng.random((n, 15)) < error).mean(1))


def uneven(rng: np.random.Generator, n: int, error: float) -> Array:
    return np.asarray((rng.random((n, 15)) < rng.beta(error, 1 - error, (n, 1))).mean(1))


def rare(rng: np.random.Generator, n: int, error: float) -> Array:
    bad = rng.random((n, 1)) < error / 2
    return np.asarray(np.where(bad, 1, rng.random((n, 15)) < (error / 2) / (1 - error / 2)).mean(1))


def alike(rng: np.random.Generator, n: int, error: float) -> Array:
    return (rng.random(n) < error).astype(float)


@pytest.mark.parametrize("draw", [independent, uneven, rare, alike])
@pytest.mark.parametrize(("error", "n"), [(0.02, 30), (0.02, 600), (0.005, 100)])
def test_small_mean_errors_are_covered(draw: Callable[..., Array], error: float, n: int) -> None:
    """In 94 % of 200 samples or more, less two standard errors."""
    rng = np.random.default_rng(n)
    held = [intervals.p_value(draw(rng, n, error), 0.0, 1.0, error) >= 0.05 for _ in range(200)]
    assert np.mean(held) > 0.94 - 2 * np.sqrt(0.94 * 0.06 / 200)


def test_losses_allow_for_worse_images_than_seen() -> None:
    """A calibrated classifier that is right 98 % of the time, on 100 images; 85 % of t intervals hold its loss."""
    rng, held = np.random.default_rng(4), 0
    truth = -(0.98 * np.log(0.98) + 0.02 * np.log(0.02))
    for _ in range(100):
        probability = np.where(rng.random((100, 1)) < 0.98, 0.98, 0.02)
        low, high = calibration.nll(probability, "clean").interval
        held += low <= truth <= high
    assert held >= 90
    assert calibration.nll(np.ones((30, 1)), "clean").interval == pytest.approx((0.0, 1.157), abs=1e-3)
    assert mean_value(np.full(30, 2.0), "entropy", "t=0", "nats", 2.0).interval[1] == 2.0


@pytest.mark.parametrize(("level", "n"), [(0.8, 100), (0.98, 30), (0.98, 600)])
def test_the_interval_of_ece_begins_at_zero_where_the_classifier_is_calibrated(level: float, n: int) -> None:
    rng, zero = np.random.default_rng(n), 0
    for _ in range(200):
        confidence = rng.beta(20 * level, 20 * (1 - level), (n, 3))
        metric = calibration.ece(rng.random((n, 3)) < confidence, confidence, "mean")
        zero += metric.interval[0] == 0
        assert metric.interval[0] <= metric.value <= metric.interval[1]
    assert zero / 200 > 0.94 - 2 * np.sqrt(0.94 * 0.06 / 200)


def test_the_interval_of_ece_finds_an_overconfident_classifier() -> None:
    rng, held = np.random.default_rng(5), 0
    for _ in range(100):
        confidence = rng.beta(18, 2, (200, 1))
        low, high = calibration.ece(rng.random((200, 1)) < confidence - 0.2, confidence, "clean").interval
        assert low > 0.03
        held += low <= 0.2 <= high
    assert held >= 90


def test_nothing_has_no_interval() -> None:
    with pytest.raises(Undefined, match="No samples"):
        intervals.of_mean(np.zeros(0))
    with pytest.raises(ValueError, match=r"in \[0, 1\]"):
        intervals.of_mean(np.array([0.5, 1.1]))
