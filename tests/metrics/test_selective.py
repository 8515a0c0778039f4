"""Selective classification against sums written out, and intervals against simulated truth."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from harness.metrics import selective
from harness.metrics.confidence import safe_coverage
from harness.metrics.intervals import Undefined

Array = NDArray[Any]


def answers(seed: int, n: int, conditions: int = 1, digits: int = 16) -> tuple[Array, Array]:
    rng = np.random.default_rng(seed)
    confidence = rng.beta(6, 1, (n, conditions)).round(digits)
    return rng.random((n, conditions)) < confidence, confidence


def values(correct: Array, confidence: Array) -> dict[str, float]:
    return {metric.name: metric.value for metric in selective.summary(correct, confidence, "clean")}


@pytest.mark.parametrize("digits", [16, 1])
def test_areas_are_the_sums_of_their_definitions_with_and_without_ties(digits: int) -> None:
    correct, confidence = answers(0, 80, digits=digits)
    wrong, level = ~correct[:, 0], confidence[:, 0]
    risks = [wrong[level >= threshold].mean() for threshold in level]
    earlier = (level[None] > level[:, None]) + 0.5 * (level[None] == level[:, None])
    area, error = roc_auc_score(~wrong, level), wrong.mean()
    shown = values(correct, confidence)
    assert shown["aurc"] == pytest.approx(np.mean(risks))
    assert shown["augrc"] == pytest.approx((earlier * wrong[None]).mean())
    # Traub et al. 2024, equation 6.
    assert shown["augrc"] == pytest.approx((1 - area) * error * (1 - error) + error**2 / 2)


def test_working_points_are_found_by_trying_every_threshold() -> None:
    correct, confidence = answers(1, 90, digits=2)
    wrong, level = ~correct[:, 0], confidence[:, 0]
    points = [((level >= t).mean(), wrong[level >= t].mean()) for t in sorted(set(level), reverse=True)]
    shown = values(correct, confidence)
    assert shown["coverage_at_5_risk"] == max([c for c, risk in points if risk <= 0.05], default=0.0)
    assert shown["risk_at_80_coverage"] == next(risk for c, risk in points if c >= 0.8)
    coverage, risk = selective.risk_coverage(correct[:, 0], level)
    assert np.column_stack([coverage, risk]) == pytest.approx(np.array(points))


def test_several_conditions_give_the_mean_of_each_one_s_value_in_any_order_of_the_images() -> None:
    correct, confidence = answers(2, 50, conditions=3, digits=2)
    alone = [values(correct[:, [k]], confidence[:, [k]]) for k in range(3)]
    together = values(correct, confidence)
    assert together == pytest.approx({name: np.mean([one[name] for one in alone]) for name in together})
    shuffled = np.random.default_rng(0).permutation(50)
    assert values(correct[shuffled], confidence[shuffled]) == pytest.approx(together)


def test_answers_that_are_all_right_or_all_wrong_have_an_interval() -> None:
    confidence = answers(3, 100)[1]
    right, wrong = (
        {metric.name: metric for metric in selective.summary(np.full((100, 1), answer), confidence, "clean")}
        for answer in (True, False)
    )
    assert right["aurc"].value == 0 and 0.01 < right["aurc"].interval[1] < 0.1
    assert right["coverage_at_5_risk"].value == 1
    assert wrong["aurc"].value == wrong["risk_at_80_coverage"].value == 1 and wrong["aurc"].interval[0] < 1
    assert wrong["coverage_at_5_risk"].value == 0


def test_intervals_hold_the_truth_in_94_percent_of_samples_or_more() -> None:
    """Of 60 samples, less two standard errors; the truth is that of 20,000 images."""
    truth = values(*answers(4, 20_000))
    held = dict.fromkeys(truth, 0)
    for seed in range(60):
        for metric in selective.summary(*answers(100 + seed, 100), "clean"):
            held[metric.name] += metric.interval[0] <= truth[metric.name] <= metric.interval[1]
    assert min(held.values()) >= 52, held


def test_one_image_has_a_curve_and_no_interval() -> None:
    with pytest.raises(Undefined, match="at least two"):
        selective.summary(np.array([[True]]), np.array([[0.9]]), "clean")
    coverage, risk = selective.risk_coverage(np.array([False]), np.array([0.9]))
    assert coverage.tolist() == risk.tolist() == [1.0]


@pytest.mark.parametrize("error", [0.03, 0.05, 0.15])
def test_the_interval_of_the_coverage_holds_the_truth_where_the_risk_is_near_the_limit(error: float) -> None:
    """Two conditions of the same images: the risk is the same at any confidence, or 0 above one of a half."""
    truth = (float(error <= 0.05) + min(1.0, 0.5 / (1 - 0.025 / error))) / 2
    rng = np.random.default_rng(0)
    held, widths = 0, []
    for _ in range(40):
        level, hard = rng.random((300, 2)), rng.random((300, 1))
        correct = np.hstack([hard >= error, (hard >= 2 * error) | (level[:, 1:] > 0.5)])
        low, high = safe_coverage.interval(correct, level, 0.05)
        held += low <= truth <= high
        widths.append(high - low)
    assert held >= 37 and np.mean(widths) < 1


def test_a_large_sample_settles_the_coverage_also_where_confidences_are_tied() -> None:
    level = np.repeat([0.9, 0.6, 0.3], 4_000)[:, None]
    right = np.tile(np.arange(4_000) % 100 >= 2, 3)
    right[8_000:] = np.arange(4_000) % 2 == 0
    low, high = safe_coverage.interval(right[:, None], level, 0.05)
    assert 0.64 < low < 2 / 3 < high < 0.69
