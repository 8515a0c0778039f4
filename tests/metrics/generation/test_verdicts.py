"""A judge's verdict: the share of samples of the class asked for, and its mean log-probability."""

from __future__ import annotations

import numpy as np
import pytest

from harness.metrics.generation.verdicts import verdicts

LOGS = np.log(np.array([0.9, 0.8, 0.2, 0.6], dtype=np.float32))


def test_the_log_probability_is_the_mean_over_samples_and_at_most_zero() -> None:
    accuracy, log_probability = verdicts(np.array([True, True, False, True]), LOGS, "generated")
    assert (accuracy.name, accuracy.value, accuracy.n) == ("accuracy", 0.75, 4)
    assert log_probability.value == pytest.approx(LOGS.mean(), rel=1e-6)
    assert log_probability.interval[0] < log_probability.value < log_probability.interval[1] <= 0
    assert log_probability.higher_is_better and log_probability.condition == "generated"


def test_one_sample_has_an_accuracy_alone() -> None:
    assert [metric.name for metric in verdicts(np.array([True]), LOGS[:1], "generated")] == ["accuracy"]
