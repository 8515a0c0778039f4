"""Inception score against torch-fidelity's recorded values, limits and plain computations."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from scipy import special

from harness.metrics.generation.inception_score import inception_score, published_inception_score
from harness.types import HarnessError

RECORDED = Path(__file__).parents[2] / "recorded"
LOGITS = np.load(RECORDED / "generation_metrics.npz")["logits"]
EXPECTED = json.loads((RECORDED / "generation_metrics.json").read_text())["isc"]


@pytest.mark.parametrize("splits", [1, 10])
@pytest.mark.parametrize("shuffle", [True, False])
def test_published_scores_are_the_recorded_ones(splits: int, shuffle: bool) -> None:
    expected = EXPECTED[f"splits={splits},shuffle={shuffle}"]
    result = published_inception_score(LOGITS, splits, 2020 if shuffle else None)
    assert result == pytest.approx((expected["mean"], expected["std"]), rel=1e-9, abs=1e-12)


def test_uneven_splits_are_those_of_a_plain_loop() -> None:
    logits = np.random.default_rng(5).normal(size=(53, 4))
    scores = []
    for k in range(7):
        p = special.softmax(logits[k * 53 // 7 : (k + 1) * 53 // 7], axis=1)
        scores.append(np.exp(np.mean([np.sum(row * np.log(row / p.mean(0))) for row in p])))
    assert published_inception_score(logits, 7, None) == pytest.approx((np.mean(scores), np.std(scores)), rel=1e-12)


def test_limits_are_one_and_the_number_of_classes() -> None:
    assert inception_score(np.zeros((40, 10))).value == pytest.approx(1.0)
    certain = inception_score(1e4 * np.eye(10)[np.arange(200) % 10])
    assert certain.value == pytest.approx(10.0) and certain.n == 200


def test_a_class_that_no_sample_can_have_changes_nothing() -> None:
    logits = np.random.default_rng(6).normal(size=(30, 3))
    padded = np.hstack([logits, np.full((30, 1), -1e6)])
    assert inception_score(padded).value == pytest.approx(inception_score(logits).value, rel=1e-12)


def test_the_interval_is_the_spread_of_the_score_over_samples() -> None:
    rng = np.random.default_rng(7)
    estimates = [inception_score(2 * rng.normal(size=(300, 6))) for _ in range(80)]
    spread = np.std([estimate.value for estimate in estimates])
    widths = [(high - low) / (2 * 1.96) for low, high in (estimate.interval for estimate in estimates)]
    assert np.mean(widths) == pytest.approx(spread, rel=0.25)


def test_bad_logits_are_refused() -> None:
    with pytest.raises(HarnessError, match="11 splits of 10"):
        published_inception_score(np.zeros((10, 3)), 11)
    with pytest.raises(HarnessError, match="at least 2"):
        inception_score(np.zeros((1, 3)))
    with pytest.raises(HarnessError, match="Logits: 1 of 4 rows"):
        inception_score(np.where(np.arange(4)[:, None] == 2, np.nan, np.zeros((4, 3))))
