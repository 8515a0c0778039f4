"""Nearest neighbours against recorded values and whole matrices of distances, with copies, for any piece."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from harness.metrics.generation.distances import BallRule, count_inside, nearest_others
from harness.metrics.generation.neighbours import Neighbours, expected_coverage, neighbours
from harness.metrics.intervals import of_mean
from harness.types import HarnessError

RECORDED = Path(__file__).parents[2] / "recorded"
FEATURES = dict(np.load(RECORDED / "generation_metrics.npz"))
FEATURES |= {"fake_first150": FEATURES["fake"][:150], "identical": FEATURES["real"]}
EXPECTED = json.loads((RECORDED / "generation_metrics.json").read_text())["prdc"]
NAMES = ("precision", "recall", "density", "coverage")


def values(near: Neighbours) -> dict[str, float]:
    return {name: getattr(near, name).value for name in NAMES}


def plain(x: np.ndarray, y: np.ndarray, k: int) -> dict[str, float]:
    """All four from whole matrices of differences."""

    def squared(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return np.array([[((u - v) ** 2).sum() for v in b] for u in a])

    own, other = np.sort(squared(x, x), axis=1)[:, k], np.sort(squared(y, y), axis=1)[:, k]
    across = squared(x, y)
    return {
        "precision": float((across <= other).any(axis=1).mean()),
        "recall": float((across <= own[:, None]).any(axis=0).mean()),
        "density": float((across < other).sum() / (k * len(x))),
        "coverage": float((across < other).any(axis=0).mean()),
    }


@pytest.mark.parametrize("k", [3, 5])
@pytest.mark.parametrize("name", ["fake", "collapsed", "copies", "fake_first150", "identical"])
def test_values_are_the_recorded_ones_with_each_metric_s_own_rule_for_ties(name: str, k: int) -> None:
    expected = EXPECTED[name][f"k={k}"]
    here = values(neighbours(FEATURES[name], FEATURES["real"], k, k))
    assert {m: here[m] for m in NAMES[:2]} == pytest.approx(expected["squared_leq"], abs=1e-9)
    assert {m: here[m] for m in NAMES[2:]} == pytest.approx({m: expected["prdc"][m] for m in NAMES[2:]}, abs=1e-9)


@pytest.mark.parametrize("seed", [0, 1])
def test_values_are_those_of_whole_matrices_with_copies_between_and_within_the_sets(seed: int) -> None:
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(50, 6)) * 30 + 500, rng.normal(size=(70, 6)) * 30 + 500
    x[:20] = y[rng.integers(0, 70, 20)]
    y[5], x[30] = y[6], x[31]
    for k in (3, 5):
        assert values(neighbours(x, y, k, k)) == pytest.approx(plain(x, y, k), abs=1e-12)


def test_nothing_depends_on_the_piece_or_the_order() -> None:
    """Copies far from 0, where distances from matrix products are off by more than their differences."""
    rng = np.random.default_rng(2)
    y = (rng.normal(size=(90, 12)) + 1e3).astype(np.float32)
    x = np.concatenate([y[rng.permutation(90)[:40]], (rng.normal(size=(30, 12)) + 1e3).astype(np.float32)])
    whole = neighbours(x, y)
    for piece in (1, 7, 64):
        other = neighbours(x, y, piece=piece)
        for field in fields(whole):
            if field.name != "reference":
                np.testing.assert_array_equal(getattr(whole, field.name), getattr(other, field.name))
        np.testing.assert_array_equal(whole.reference.squared, other.reference.squared)
        np.testing.assert_array_equal(whole.reference.first, other.reference.first)
    order = rng.permutation(len(x))
    np.testing.assert_array_equal(neighbours(x[order], y).held, whole.held[order])
    assert values(whole) == pytest.approx(
        {**plain(x, y, 3), "density": plain(x, y, 5)["density"]} | {"coverage": plain(x, y, 5)["coverage"]}
    )


def test_features_far_from_zero_have_the_neighbours_of_plain_differences() -> None:
    rng = np.random.default_rng(13)
    x, y = rng.normal(size=(40, 5)) + 1e6, rng.normal(size=(50, 5)) + 1e6
    assert values(neighbours(x, y, 3, 3)) == pytest.approx(plain(x, y, 3), abs=1e-12)


def test_closed_and_open_balls_differ_at_the_radius_alone() -> None:
    x, y = np.array([[0.0, 3.0], [0.0, 2.0], [9.0, 9.0]]), np.array([[0.0, 0.0]])
    radius = np.array([9.0])
    rules = [BallRule(radius, around_rows=False, closed=closed) for closed in (True, False)]
    closed, opened = count_inside(x, y, rules)
    assert closed.rows.tolist() == [1, 1, 0] and opened.rows.tolist() == [0, 1, 0]
    assert closed.columns.tolist() == [2] and opened.columns.tolist() == [1]
    (around,) = count_inside(x, y, [BallRule(np.array([1.0, 4.0, 200.0]), around_rows=True, closed=True)])
    assert around.rows.tolist() == [0, 1, 1]


def test_a_copy_is_a_neighbour_and_the_point_itself_is_none() -> None:
    near = nearest_others(np.array([[0.0], [1.0], [1.0], [4.0]]), 2)
    assert near.squared.tolist() == [[1.0, 1.0], [0.0, 1.0], [0.0, 1.0], [9.0, 9.0]]
    assert near.first.tolist() == [1, 2, 1, 1]


def test_sets_of_one_distribution_have_the_expected_density_and_coverage() -> None:
    rng = np.random.default_rng(8)
    sets = [(rng.normal(size=(60, 3)), rng.normal(size=(90, 3))) for _ in range(80)]
    near = [neighbours(x, y) for x, y in sets]
    coverage = [n.coverage.value for n in near]
    assert np.mean(coverage) == pytest.approx(expected_coverage(5, 90, 60), abs=3 * np.std(coverage) / 80**0.5)
    density = [n.density.value for n in near]
    assert np.mean(density) == pytest.approx(1.0, abs=3 * np.std(density) / 80**0.5)


def test_intervals_hold_their_value_and_say_how_many_samples() -> None:
    near = neighbours(FEATURES["fake_first150"], FEATURES["real"])
    assert [getattr(near, name).n for name in NAMES] == [150] * 4
    for name in NAMES:
        estimate = getattr(near, name)
        assert 0 <= estimate.interval[0] < estimate.value < estimate.interval[1]
    assert near.precision.interval == of_mean(near.precise)


def test_coverage_and_recall_hold_what_each_generated_sample_adds() -> None:
    """Leaving out a sample with its ball, all other balls kept, loses the images that it alone meets."""
    x, y = FEATURES["fake_first150"].astype(np.float64), FEATURES["real"].astype(np.float64)
    near = neighbours(x, y)
    across = ((x[:, None] - y) ** 2).sum(axis=2)
    met = {"covered": across < near.reference.squared[:, 4], "recalled": across <= nearest_others(x, 3).squared[:, 2:]}
    for name, inside in met.items():
        lost = [inside.any(axis=0).sum() - np.delete(inside, k, axis=0).any(axis=0).sum() for k in range(150)]
        assert getattr(near, f"{name}_alone").tolist() == lost
    spread = 149 / 150 * np.sum((near.covered_alone - near.covered_alone.mean()) ** 2) / 200**2
    value = near.coverage.value
    low, high = near.coverage.interval
    assert (high - low) / (2 * 1.96) == pytest.approx((value * (1 - value) / 200 + spread) ** 0.5, rel=0.1)
    copies = neighbours(y, y)
    assert copies.coverage.interval == of_mean(copies.covered)  # nothing alone, all covered


def test_sets_that_are_too_small_or_do_not_fit_are_refused() -> None:
    with pytest.raises(HarnessError, match=r"5 generated and 200 reference samples.*at least 6"):
        neighbours(FEATURES["fake"][:5], FEATURES["real"])
    with pytest.raises(HarnessError, match="4 dimensions"):
        neighbours(FEATURES["fake"][:, :4], FEATURES["real"])
    with pytest.raises(HarnessError, match="NaN or infinite, the first is row 0"):
        neighbours(np.full((9, 16), np.nan), FEATURES["real"])
