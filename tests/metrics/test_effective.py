"""Effective robustness: the line through a known population, and what makes it unreliable."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import special

from harness.metrics.effective import effective_robustness
from harness.metrics.intervals import Undefined

CLEAN = special.expit(np.linspace(0, 3, 6))
"""Accuracies of six classifiers."""


def answers(n: int, accuracies: np.ndarray, seed: int = 0) -> np.ndarray:
    return (np.random.default_rng(seed).random((n, len(accuracies))) < accuracies).astype(float)


def test_a_classifier_above_the_line_of_the_others_is_found() -> None:
    shifted = special.expit(special.logit(CLEAN) - 1)
    shifted[2] += 0.1
    baseline = np.arange(6) != 2
    result = effective_robustness(answers(4_000, CLEAN), answers(4_000, shifted, 1), baseline, paired=False)
    assert (result.line.slope, result.line.intercept) == pytest.approx((1, -1), abs=0.1)
    assert result.line.r2 > 0.99 and result.reliability > 0.99
    low, high = result.intervals[2]
    assert low < 0.1 < high and low > 0.05
    assert all(low <= 0 <= high for k, (low, high) in enumerate(result.intervals) if k != 2)


def test_clean_accuracies_that_differ_by_chance_alone_are_unreliable() -> None:
    table = answers(100, np.full(6, 0.9))
    result = effective_robustness(table, answers(100, np.full(6, 0.8), 1), np.ones(6, dtype=bool), paired=True)
    assert result.reliability < 0.6


def test_a_line_needs_three_different_classifiers() -> None:
    table = answers(50, CLEAN)
    with pytest.raises(Undefined, match="at least 3"):
        effective_robustness(table, table, np.arange(6) < 2, paired=True)
    with pytest.raises(Undefined, match="same clean accuracy"):
        effective_robustness(np.ones((50, 6)), table, np.ones(6, dtype=bool), paired=True)
