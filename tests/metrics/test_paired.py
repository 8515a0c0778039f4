"""Paired differences of means of numbers, against SciPy's paired t test."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from harness.metrics.intervals import Undefined
from harness.metrics.paired import compare_values


def test_numbers_are_compared_by_the_paired_t_test() -> None:
    a, b = np.random.default_rng(0).normal(0.1, 0.2, (2, 40))
    result, expected = compare_values(a, b), stats.ttest_rel(b, a)
    assert (result.difference, result.n) == (pytest.approx((b - a).mean()), 40)
    assert result.p == pytest.approx(expected.pvalue)
    assert result.interval == pytest.approx(tuple(expected.confidence_interval()), abs=1e-9)


@pytest.mark.parametrize(("shift", "count", "message"), [(0.0, 3, "same value, 0"), (1.0, 3, "1"), (1.0, 1, "are 1")])
def test_differences_without_spread_have_no_test(shift: float, count: int, message: str) -> None:
    with pytest.raises(Undefined, match=message):
        compare_values(np.arange(count), np.arange(count) + shift)
