"""Calibration, Brier score, temperature and prediction sets against sums written out and scikit-learn."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import special, stats
from sklearn.metrics import brier_score_loss

from harness.metrics import calibration
from harness.metrics.confidence import conformal, logits, smooth

Array = NDArray[Any]


def answers(seed: int, n: int, over: float = 0.0, conditions: int = 1) -> tuple[Array, Array]:
    rng = np.random.default_rng(seed)
    confidence = rng.beta(8, 1, (n, conditions))
    return rng.random((n, conditions)) < confidence * (1 - over), confidence


def outputs(seed: int, n: int, classes: int = 10) -> tuple[Array, Array]:
    """Calibrated logits, and labels drawn from their softmax."""
    rng = np.random.default_rng(seed)
    values = 3 * rng.standard_normal((n, classes))
    return values, (special.softmax(values, axis=1).cumsum(axis=1) > rng.random((n, 1))).argmax(axis=1)


def test_adaptive_bins_hold_equal_numbers_of_images() -> None:
    correct, confidence = answers(0, 150, over=0.3)
    order = np.argsort(confidence[:, 0])
    bins = np.split(order, calibration.BINS)
    gaps = [abs(correct[b, 0].mean() - confidence[b, 0].mean()) for b in bins]
    metric = calibration.adaptive_ece(correct, confidence, "clean")
    assert metric.value == pytest.approx(np.mean(gaps)) and metric.interval[0] > 0
    alike = calibration.adaptive_ece(correct, np.full_like(confidence, 0.75), "clean")
    assert alike.value == pytest.approx(abs(correct.mean() - 0.75)), "ties share a bin"


def smooth_error(correct: Array, confidence: Array) -> float:
    """The definition: mirror images of every residual, and the fixed point by bisection."""
    points = (np.arange(1_000) + 0.5) / 1_000

    def error(width: float) -> float:
        centres = [sign * confidence + 2 * shift for shift in (-1, 0, 1) for sign in (1, -1)]
        kernel = sum(stats.norm.pdf(points[:, None], centre[None], width) for centre in centres)
        return float(np.abs((kernel * (correct - confidence)).mean(axis=1)).mean())

    low, high = 1e-3, 1.0
    for _ in range(18):
        middle = (low + high) / 2
        low, high = (middle, high) if error(middle) > middle else (low, middle)
    return low


@pytest.mark.parametrize("over", [0.0, 0.3])
def test_smooth_calibration_error_is_that_of_mirrored_gaussians(over: float) -> None:
    correct, confidence = answers(1, 60, over)
    metric = smooth.smooth_ece(correct, confidence, "clean")
    assert metric.value == pytest.approx(smooth_error(correct[:, 0], confidence[:, 0]), abs=2e-5)
    assert metric.interval[0] <= metric.value <= metric.interval[1]
    assert (metric.interval[0] > 0) == bool(over)


@pytest.mark.parametrize("metric", [calibration.adaptive_ece, smooth.smooth_ece])
def test_intervals_begin_at_zero_where_calibrated_and_hold_the_gap_where_not(metric: Any) -> None:
    zero = [metric(*answers(seed, 200), "").interval[0] == 0 for seed in range(20)]
    assert np.mean(zero) >= 0.8
    gap = 0.2 * answers(0, 20_000)[1].mean()
    ends = [metric(*answers(seed, 200, over=0.2), "").interval for seed in range(20)]
    assert np.mean([low <= gap <= high for low, high in ends]) >= 0.8


def test_answers_without_a_residual_have_no_smooth_error() -> None:
    assert smooth.smooth_ece(np.ones((5, 1), dtype=bool), np.ones((5, 1)), "clean").value == 0


def test_reliability_is_counted_bin_by_bin_over_all_conditions() -> None:
    correct, confidence = answers(2, 60, conditions=2)
    bars = calibration.reliability(correct, confidence)
    assert sum(bar.answers for bar in bars) == 120
    for bar in bars:
        inside = (confidence > bar.low) & (confidence <= bar.high)
        assert (bar.accuracy, bar.confidence) == pytest.approx((correct[inside].mean(), confidence[inside].mean()))
        assert bar.interval[0] <= bar.accuracy <= bar.interval[1]
    alone = calibration.reliability(correct[:, 0], confidence[:, 0])
    exact = stats.binomtest(round(alone[-1].accuracy * alone[-1].answers), alone[-1].answers)
    assert alone[-1].interval == pytest.approx(tuple(exact.proportion_ci()), abs=1e-8)


def test_brier_scores_are_scikit_learn_s() -> None:
    values, labels = outputs(3, 80)
    probabilities = special.softmax(values, axis=1)
    expected = brier_score_loss(labels, probabilities, labels=range(10), scale_by_half=False)
    metric = logits.brier(values[:, None], labels[:, None], "clean")
    assert metric.value == pytest.approx(expected) and metric.interval[0] < expected < metric.interval[1]


def test_the_temperature_of_scaled_logits_is_their_scale() -> None:
    values, labels = outputs(4, 4_000)
    assert logits.fit_temperature(2.5 * values, labels).value == pytest.approx(2.5, rel=0.1)
    sure = logits.fit_temperature(values, values.argmax(axis=1))
    assert sure.limited, "every answer is right: the best temperature is 0"


@pytest.mark.parametrize("name", conformal.SCORES)
def test_prediction_sets_cover_as_promised(name: str) -> None:
    values, labels = outputs(5, 4_000)
    probabilities, draws = special.softmax(values, axis=1), np.random.default_rng(5).random(4_000)
    half, rest = slice(0, 2_000), slice(2_000, None)
    calibrated = probabilities[half], labels[half], draws[half]
    members = conformal.sets(name, calibrated, (probabilities[rest], draws[rest]))
    coverage, size = conformal.judge(members[:, None], labels[rest][:, None], "clean")
    assert coverage.value == pytest.approx(0.9, abs=0.025)
    assert size.value == members.sum() / 2_000 and size.interval[0] < size.value < size.interval[1]


def test_sets_hold_every_class_where_there_are_too_few_images_to_calibrate() -> None:
    assert conformal.threshold(np.arange(8.0)) == math.inf
    assert conformal.threshold(np.arange(9.0)) == 8.0


def test_sets_cover_as_promised_where_an_image_has_fifteen_rows_that_are_alike() -> None:
    """Eleven images: counted as 165 rows they would give the second largest score, which covers 10 of 12."""
    rng, covered = np.random.default_rng(6), []
    for _ in range(500):
        scores = rng.random(11)
        covered.append(conformal.threshold(np.repeat(scores, 15), 11))
        assert covered[-1] == conformal.threshold(scores) == scores.max()
    assert np.mean(covered) == pytest.approx(11 / 12, abs=0.01), "the chance that a uniform score lies below"
    assert conformal.threshold(np.zeros(8 * 15), 8) == math.inf
    assert conformal.threshold(np.arange(300.0), 20) == 284, "19 / 20 of 300 scores"
