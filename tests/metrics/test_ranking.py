"""Rank sets: coverage in simulation, exact tests for few images, and what can never be told apart."""

from __future__ import annotations

import numpy as np
import pytest

from harness.base.noise import generator
from harness.metrics import ranking
from harness.metrics.intervals import Undefined
from harness.metrics.paired import compare_condition
from harness.metrics.ranking import Sample


def board(*answers: object, span: float = 1.0) -> list[Sample]:
    """A board of answers, (n,) each."""
    values = np.stack([np.asarray(a, dtype=float) for a in answers], axis=1)
    return [Sample(np.arange(len(values)).astype(str), values, span)]


def wrong_on(images: range, n: int = 600) -> np.ndarray:
    return ~np.isin(np.arange(n), images)


def test_sets_hold_jointly_with_ties_and_rows_that_are_wrong_on_the_same_images() -> None:
    """A hundred boards of twelve rows, three at a time tie: at 95 % there are 12 misses or more in 0.4 % of cases."""
    truth = np.repeat((0.95, 0.9, 0.85, 0.8), 3)
    misses = 0
    for k in range(100):
        rng = generator(0, "test/ranking", "", k)
        own, image = rng.random((100, 12)), rng.random((100, 1))
        samples = board(*truth[:, None] > np.where(rng.random((100, 12)) < 0.7, image, own).T)
        better = ranking.separable(samples)
        misses += bool((better & (truth[:, None] <= truth)).any())
    assert misses < 12


def test_a_row_that_is_better_by_far_ranks_alone() -> None:
    rows = [wrong_on(range(0, 10)), *(wrong_on(range(k, k + 150)) for k in (40, 60, 80, 100, 120, 140))]
    better = ranking.separable(board(*rows))
    assert ranking.sets(better) == [(1, 1), *[(2, 7)] * 6]
    assert (ranking.separable(board(*rows), higher_is_better=False) == better.T).all()


def test_rows_that_never_disagree_are_never_separable() -> None:
    good, bad = wrong_on(range(0, 5)), wrong_on(range(0, 300))
    better = ranking.separable(board(good, good, good, bad, bad, bad, bad))
    assert better[:3, 3:].all() and not better[3:].any() and not better[:3, :3].any()


@pytest.mark.parametrize("rows", [6, 12])
def test_nine_images_to_none_separate_no_two_of_many_rows(rows: int) -> None:
    others = [wrong_on(range(200, 200 + 9))] * (rows - 1)
    assert not ranking.separable(board(wrong_on(range(0)), *others)).any()


@pytest.mark.parametrize(("wins", "losses"), [(5, 0), (8, 1)])
def test_two_rows_are_separable_where_the_exact_paired_test_is_significant(wins: int, losses: int) -> None:
    a, b = wrong_on(range(losses)), wrong_on(range(100, 100 + wins))
    p = compare_condition(a, b).p
    assert ranking.separable(board(a, b)).tolist() == [[False, p < 0.05], [False, False]]


def test_one_image_with_a_large_share_does_not_count_for_many() -> None:
    """A tiny difference on 599 images and a large one on a single image hang on that one image."""
    base = np.linspace(0, 1, 600)
    shifted = base - 1e-6
    shifted[0] -= 0.9
    rows = [base, *(shifted for _ in range(3)), *(np.roll(base, k) for k in (100, 200, 300))]
    assert not ranking.separable(board(*rows))[0, 1:4].any()


def test_sets_do_not_depend_on_the_order_of_rows_or_images() -> None:
    rng = generator(0, "test/ranking", "order")
    answers = (rng.random((300, 10)) < np.linspace(0.6, 0.95, 10)).astype(float)
    better = ranking.separable(board(*answers.T))
    assert better.any() and (ranking.separable(board(*answers.T)) == better).all()
    names = np.array([f"{k:03}" for k in range(300)])
    shuffled = rng.permutation(300)
    rows = [[Sample(names, answers[:, k], 1.0)] for k in range(10)]
    rows[3] = [Sample(names[shuffled], answers[shuffled, 3], 1.0)]
    stacked = ranking.stacked(rows)
    assert np.array_equal(stacked[0].values, answers)
    turned = rng.permutation(10)
    again = ranking.separable([Sample(s.images, s.values[:, turned], s.span) for s in stacked])
    assert (again == better[np.ix_(turned, turned)]).all()


def test_rows_on_other_images_are_no_board() -> None:
    one, other = ([Sample(np.array(names), np.ones(2), 1.0)] for names in (["a", "b"], ["a", "c"]))
    with pytest.raises(Undefined, match="different images"):
        ranking.stacked([one, other])


def test_several_independent_samples_add_up() -> None:
    """Two halves as two samples are about as certain as the whole, and one sample of noise hides the difference."""
    rng = generator(0, "test/ranking", "samples")
    values = (rng.random((400, 6)) < np.array([0.9, 0.6, 0.6, 0.6, 0.6, 0.6])).astype(float)
    halves = [Sample(np.arange(200), part / 2) for part in np.split(values, 2)]
    assert ranking.separable(halves)[0, 1:].all()
    noisy = Sample(np.arange(50), rng.standard_normal((50, 6)) * 3)
    assert not ranking.separable([*halves, noisy])[0, 1:].any()
