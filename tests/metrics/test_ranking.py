"""Rank sets: coverage in simulation, exact tests for few images, and what can never be told apart."""

from __future__ import annotations

import numpy as np
import pytest

from harness.base.noise import generator
from harness.metrics import ranking
from harness.metrics.paired import compare_condition
from harness.metrics.ranking import Sample


def board(*answers: object, span: float = 1.0) -> list[Sample]:
    """A board of answers, (n,) each."""
    values = np.stack([np.asarray(a, dtype=float) for a in answers], axis=1)
    return [Sample(np.arange(len(values)).astype(str), values, span)]


def wrong_on(images: range, n: int = 600) -> np.ndarray:
    return ~np.isin(np.arange(n), images)


def test_sets_hold_jointly_with_ties_and_rows_that_are_wrong_on_the_same_images() -> None:
    """Of 300 boards of twelve rows, 15 have a miss at 95 %; at 90 % fewer than 20 in 2 % of cases."""
    truth, misses = np.repeat((0.9, 0.5), (2, 10)), 0
    for k in range(300):
        rng = generator(0, "test/ranking", "", k)
        difficulty = rng.random((100, 12))
        difficulty[:, :2] = np.where(rng.random((100, 2)) < 0.7, rng.random((100, 1)), difficulty[:, :2])
        better = ranking.separable(board(*(truth > difficulty).T))
        misses += bool((better & (truth[:, None] <= truth)).any())
    assert misses < 20


def test_the_rates_of_exact_tests_and_bootstrap_add_up_to_five_percent() -> None:
    """The bootstrap's quantile is that of 2,000 known maxima."""
    deviations = np.stack([np.arange(2_000.0), np.zeros(2_000)])
    pair = np.array([0]), np.array([1])
    quantile = ranking._quantile(deviations, *pair, np.ones(1), np.ones((2, 1), dtype=bool))
    assert (quantile + 1) / 2_001 == pytest.approx(0.96, abs=1e-3) and ranking.EXACT == 0.01


@pytest.mark.parametrize("rows", [6, 12])
def test_exact_tests_separate_pairs_with_few_images_in_effect_on_boards_of_any_size(rows: int) -> None:
    """Nine images won under all of 15 conditions and sixty under one: p = 8e-5, times 66 pairs 0.5 %."""
    winner = np.zeros(600)
    winner[:9], winner[9:69] = 1.0, 1 / 15
    others = [np.zeros(600)] * (rows - 1)
    better = ranking.separable(board(winner, *others))
    assert better[0, 1:].all() and better.sum() == rows - 1
    assert (ranking.separable(board(winner, *others), higher_is_better=False) == better.T).all()
    assert not ranking.separable(board(winner, *others, span=np.inf)).any()


def test_exact_tests_are_adjusted_over_all_pairs_of_the_board() -> None:
    """A p of 8e-5 is below 1 % times 1 / 120, of sixteen rows, and not 1 / 190, of twenty."""
    winner = np.zeros(600)
    winner[:9], winner[9:69] = 1.0, 1 / 15
    separated = [ranking.separable(board(winner, *[np.zeros(600)] * (rows - 1))).any() for rows in (16, 20)]
    assert separated == [True, False]


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
    # Recorded: of each row, the number of rows that it is better than.
    assert better.sum(axis=1).tolist() == [0, 0, 0, 2, 2, 3, 4, 5, 6, 8]
    names = np.array([f"{k:03}" for k in range(300)])
    shuffled = rng.permutation(300)
    rows = [[Sample(names, answers[:, k], 1.0)] for k in range(10)]
    rows[3] = [Sample(names[shuffled], answers[shuffled, 3], 1.0)]
    places, stacked = ranking.stacked(rows)
    assert places == list(range(10))
    assert np.array_equal(stacked[0].values, answers)
    turned = rng.permutation(10)
    again = ranking.separable([Sample(s.images, s.values[:, turned], s.span) for s in stacked])
    assert (again == better[np.ix_(turned, turned)]).all()


def test_rows_on_other_images_than_most_are_left_out() -> None:
    one, other = ([Sample(np.array(names), np.arange(2.0), 1.0)] for names in (["a", "b"], ["a", "c"]))
    places, (sample,) = ranking.stacked([one, other, other, [*other, *other]])
    assert places == [1, 2] and sample.images.tolist() == ["a", "c"] and sample.values.shape == (2, 2)
    assert ranking.stacked([one, other])[0] == [0]


def test_several_independent_samples_add_up() -> None:
    """Two halves as two samples are about as certain as the whole, and one sample of noise hides the difference."""
    rng = generator(0, "test/ranking", "samples")
    values = (rng.random((400, 6)) < np.array([0.9, 0.6, 0.6, 0.6, 0.6, 0.6])).astype(float)
    halves = [Sample(np.arange(200), part / 2) for part in np.split(values, 2)]
    assert ranking.separable(halves)[0, 1:].all()
    noisy = Sample(np.arange(50), rng.standard_normal((50, 6)) * 3)
    assert not ranking.separable([*halves, noisy])[0, 1:].any()
