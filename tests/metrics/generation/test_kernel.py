"""KID against torch-fidelity's recorded values and slow sums over pairs."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from harness.metrics.generation.kernel import kid, published_kid
from harness.types import HarnessError

RECORDED = Path(__file__).parents[2] / "recorded"
FEATURES = dict(np.load(RECORDED / "generation_metrics.npz"))
EXPECTED = json.loads((RECORDED / "generation_metrics.json").read_text())
SETS = ("fake", "collapsed", "copies")


def slow_kid(x: np.ndarray, y: np.ndarray) -> float:
    """Unbiased MMD^2 pair by pair."""

    def mean(a: np.ndarray, b: np.ndarray, same: bool) -> float:
        pairs = [(u @ v / len(u) + 1) ** 3 for i, u in enumerate(a) for j, v in enumerate(b) if not (same and i == j)]
        return float(np.mean(pairs))

    return mean(x, x, True) + mean(y, y, True) - 2 * mean(x, y, False)


@pytest.mark.parametrize("name", SETS)
def test_kid_of_all_samples_is_the_recorded_one(name: str) -> None:
    expected = EXPECTED["kid"][name]["poly_all200"]["mean"]
    assert kid(FEATURES[name], FEATURES["real"]).value == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("name", SETS)
def test_published_kid_draws_the_subsets_of_torch_fidelity(name: str) -> None:
    for key, subsets, size in (("poly_subset50", 100, 50), ("poly_subset100_of_10", 10, 100)):
        result = published_kid(FEATURES[name], FEATURES["real"], subsets, size)
        expected = EXPECTED["kid"][name][key]
        assert (result.mean, result.deviation) == pytest.approx((expected["mean"], expected["std"]), rel=1e-9)


def test_kid_and_its_jackknife_are_those_of_slow_sums_for_any_piece() -> None:
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=(9, 4)) + 0.5, rng.normal(size=(12, 4))
    left_out = np.array([slow_kid(np.delete(x, k, axis=0), y) for k in range(9)])
    half = 1.959964 * np.sqrt(8 / 9 * ((left_out - left_out.mean()) ** 2).sum())
    for piece in (1, 5, 100):
        estimate = kid(x, y, piece)
        value = slow_kid(x, y)
        assert estimate.value == pytest.approx(value, rel=1e-12) and estimate.n == 9
        assert estimate.interval == pytest.approx((value - half, value + half), rel=1e-6)


def test_sets_of_one_distribution_have_a_kid_around_zero() -> None:
    rng = np.random.default_rng(4)
    values = [kid(rng.normal(size=(60, 3)), rng.normal(size=(60, 3))).value for _ in range(60)]
    assert min(values) < 0 < max(values)
    assert abs(np.mean(values)) < 3 * np.std(values) / np.sqrt(60)


def test_sets_that_are_too_small_or_do_not_fit_are_refused() -> None:
    real = FEATURES["real"]
    with pytest.raises(HarnessError, match=r"2 generated and 200 reference.*at least 3 and 2"):
        kid(real[:2], real)
    with pytest.raises(HarnessError, match=r"subsets of 1000 from 200.*from 2 to 200"):
        published_kid(real, real)
    with pytest.raises(HarnessError, match="8 dimensions, the reference 16"):
        kid(real[:, :8], real)
