"""Frechet distances against recordings of five libraries, closed forms, and other orders and pieces."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from scipy import linalg

from harness.metrics.generation.moments import (
    SIZES,
    WIDER,
    Moments,
    extrapolate,
    frechet,
    frechet_distance,
    frechet_infinity,
    influence,
    line_weights,
    moments,
)
from harness.metrics.intervals import Undefined
from harness.types import HarnessError

RECORDED = Path(__file__).parents[2] / "recorded"
FEATURES = dict(np.load(RECORDED / "generation_metrics.npz"))
EXPECTED = json.loads((RECORDED / "generation_metrics.json").read_text())


@pytest.mark.parametrize("name", ["fake", "collapsed", "copies"])
def test_distances_equal_those_of_other_libraries(name: str) -> None:
    value = frechet_distance(moments(FEATURES[name]), moments(FEATURES["real"]))
    for library, expected in EXPECTED["fid"][name].items():
        assert value == pytest.approx(expected, rel=1e-6 if "32" in library else 1e-9), library


def test_a_set_has_no_distance_from_itself() -> None:
    own = moments(FEATURES["real"])
    assert frechet_distance(own, own) == pytest.approx(0.0, abs=1e-12)


def test_moments_are_those_of_numpy_for_any_pieces_and_iterators() -> None:
    x = FEATURES["fake"] + 1_000  # far from 0, where sums of squares would lose digits
    x64 = x.astype(np.float64)
    for whole in (moments(x), moments(x, piece=7), moments(iter(np.array_split(x, 9)))):
        assert whole.n == 200 and whole.covariance.dtype == np.float64
        np.testing.assert_allclose(whole.mean, x64.mean(0), rtol=1e-13)
        np.testing.assert_allclose(whole.covariance, np.cov(x64.T), rtol=1e-10, atol=1e-12)


def test_commuting_covariances_have_the_closed_form() -> None:
    a, b = np.array([4.0, 1.0, 0.0]), np.array([1.0, 9.0, 0.0])
    turn = linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
    first = Moments(np.zeros(3), turn @ np.diag(a) @ turn.T, 10)
    second = Moments(np.array([0.0, 3.0, 4.0]), turn @ np.diag(b) @ turn.T, 10)
    assert frechet_distance(first, second) == pytest.approx(25 + ((np.sqrt(a) - np.sqrt(b)) ** 2).sum(), rel=1e-12)


def test_dimensions_without_variance_cost_no_precision() -> None:
    """Rectified features often are zero throughout; the roots of rounded zeros would add up."""
    rng = np.random.default_rng(1)
    a, b = 100 * rng.normal(size=(300, 10)), 100 * rng.normal(size=(300, 10)) + 1
    dead = np.zeros((300, 100))
    plain = frechet_distance(moments(a), moments(b))
    wide = frechet_distance(moments(np.hstack([a, dead])), moments(np.hstack([b, dead])))
    assert wide == pytest.approx(plain, rel=1e-10)


def test_the_line_through_given_prefixes_is_the_recorded_one() -> None:
    expected = EXPECTED["fd_infinity_prefixes"]
    line = extrapolate(FEATURES["fake"], moments(FEATURES["real"]), expected["n"], np.arange(200))
    assert line.distances == pytest.approx(expected["fd"], rel=1e-9)
    assert (line.intercept, line.slope) == pytest.approx((expected["intercept"], expected["slope"]), rel=1e-9)


def test_the_extrapolation_depends_on_its_seed_alone() -> None:
    target = moments(FEATURES["real"])
    first, again, other = (frechet_infinity(FEATURES["fake"], target, seed) for seed in (0, 0, 1))
    assert first == again and first.value != other.value
    assert first.interval[0] < other.value < first.interval[1] and first.n == 200


@pytest.mark.parametrize("n", [100, 600])
def test_the_extrapolation_s_standard_error_is_that_of_its_weights(n: int) -> None:
    sizes = np.unique(np.linspace(n // 2, n, SIZES).round().astype(int))
    single, pairs = np.zeros(n), np.zeros((n, n))
    for size, weight in zip(sizes, line_weights(sizes)[0], strict=True):
        for part in (slice(0, size), slice(n - size, n)):
            single[part] += weight / size / 2
            pairs[part, part] += weight / size**2 / 2
    assert n * (single**2).sum() < n**2 * (pairs**2).sum() / 2 == pytest.approx(WIDER**2, rel=0.02)


def test_the_allowance_for_curvature_covers_what_a_line_misses() -> None:
    """Equal isotropic distributions in a third as many dimensions as samples: FD is far from a line in 1 / N."""
    n, dimension = 300, 100
    target = Moments(np.zeros(dimension), np.eye(dimension), 10_000)
    estimate = frechet_infinity(np.random.default_rng(3).normal(size=(n, dimension)), target, 0)
    low, high = estimate.interval
    assert low < estimate.value < -0.2 and 0 < high < 1
    assert high - estimate.value > 1.5 * (estimate.value - low)


def test_influences_are_the_derivative_of_the_distance_by_a_sample_s_weight() -> None:
    x, target = FEATURES["fake"].astype(np.float64), moments(FEATURES["real"])
    own, step = moments(x), 1e-5

    def weighted(k: int, extra: float) -> float:
        weights = np.ones(len(x))
        weights[k] += extra
        weights /= weights.sum()
        mean = weights @ x
        covariance = (x - mean).T @ ((x - mean) * weights[:, None]) * (200 / 199)
        return frechet_distance(Moments(mean, covariance, 200), target)

    values = influence(x, own, target)
    assert values.mean() == pytest.approx(0.0, abs=1e-12)
    for k in (0, 17, 199):
        slope = (weighted(k, step) - weighted(k, -step)) / (2 * step)
        assert values[k] / 200 == pytest.approx(slope, rel=0.01, abs=1e-5)


def test_the_interval_is_the_spread_of_the_distance_over_samples() -> None:
    rng = np.random.default_rng(2)
    target = Moments(np.zeros(4), np.eye(4), 1_000)
    estimates = [frechet(1 + 2 * rng.normal(size=(400, 4)), target) for _ in range(60)]
    spread = np.std([estimate.value for estimate in estimates])
    widths = [(high - low) / (2 * 1.96) for low, high in (estimate.interval for estimate in estimates)]
    assert np.mean(widths) == pytest.approx(spread, rel=0.3)


def test_too_few_samples_are_refused_with_the_number_needed() -> None:
    with pytest.raises(HarnessError, match=r"10 samples of 16 dimensions.*at least 17 samples.*at most 9 dimensions"):
        frechet_distance(moments(FEATURES["small"]), moments(FEATURES["real"]))
    enough = moments(FEATURES["fake"][:17])
    assert frechet_distance(enough, moments(FEATURES["real"])) > 0
    with pytest.raises(HarnessError, match="16 samples"):
        frechet_distance(moments(FEATURES["real"]), moments(FEATURES["fake"][:16]))
    with pytest.raises(Undefined, match=r"33 samples of 16 dimensions.*at least 34"):
        frechet_infinity(FEATURES["fake"][:33], moments(FEATURES["real"]), 0)
    assert np.isfinite(frechet_infinity(FEATURES["fake"][:34], moments(FEATURES["real"]), 0).value)


def test_bad_moments_are_refused() -> None:
    own = moments(FEATURES["real"])
    with pytest.raises(HarnessError, match="15 dimensions, the reference 16"):
        frechet_distance(moments(FEATURES["fake"][:, :15]), own)
    with pytest.raises(HarnessError, match="do not belong together"):
        Moments(np.zeros(3), np.eye(4), 10)
    with pytest.raises(HarnessError, match="NaN or infinite"):
        Moments(np.zeros(2), np.full((2, 2), np.nan), 10)
    with pytest.raises(HarnessError, match="row 3"):
        moments(np.where(np.arange(8)[:, None] == 3, np.inf, np.zeros((8, 2))))
    with pytest.raises(HarnessError, match="at least 2"):
        moments(np.zeros((1, 2)))
    with pytest.raises(HarnessError, match="at least 2"):
        moments(iter([]))
