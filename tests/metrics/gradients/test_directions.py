"""Directions of gradients and means over images, by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from harness.metrics.gradients.directions import CUTOFF, cosine, low_frequency_share, norms
from harness.metrics.gradients.means import mean_over_images
from harness.metrics.intervals import Undefined


def test_cosines_of_known_angles_at_any_scale() -> None:
    a = np.array([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0], [0.0, 0.0]])
    b = np.array([[2.0, 0.0], [1.0, 1.0], [-3.0, 0.0], [1.0, 0.0]])
    expected = [1, np.sqrt(0.5), -1, 0]
    for scale in (1.0, 1e-30, 1e-200, 1e200):
        assert cosine(scale * a, b) == pytest.approx(expected, abs=1e-15)
    assert norms(np.full((2, 3, 2, 2), 0.5)) == pytest.approx([np.sqrt(3)] * 2)


def test_waves_below_and_above_the_cutoff() -> None:
    x = np.arange(32)
    waves = [np.cos(2 * np.pi * cycles * x / 32) for cycles in (0, 4, 5, 16)]
    images = np.stack([np.broadcast_to(wave, (3, 32, 32)) for wave in waves])
    assert CUTOFF * 32 == 4
    assert low_frequency_share(images) == pytest.approx([1, 1, 0, 0], abs=1e-12)
    assert low_frequency_share(1e-200 * images) == pytest.approx([1, 1, 0, 0], abs=1e-12)
    diagonal = np.cos(2 * np.pi * 3 * (x[:, None] + x[None]) / 32)
    assert low_frequency_share(np.broadcast_to(diagonal, (1, 3, 32, 32))) == pytest.approx([0], abs=1e-12), "radius"
    assert low_frequency_share(np.zeros((1, 3, 8, 8))).tolist() == [0]


def test_white_noise_has_the_share_of_the_disk() -> None:
    noise = np.random.default_rng(0).standard_normal((200, 3, 32, 32))
    assert low_frequency_share(noise).mean() == pytest.approx(49 / 1024, rel=0.02)


def test_rows_do_not_look_at_one_another() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((2, 7, 3, 32, 32)).astype(np.float32)
    alone = np.concatenate([low_frequency_share(a[[k]]) for k in range(7)])
    assert np.array_equal(low_frequency_share(a), alone)
    assert np.array_equal(cosine(a, b), np.concatenate([cosine(a[[k]], b[[k]]) for k in range(7)]))


def test_means_have_student_s_interval() -> None:
    a = np.random.default_rng(0).normal(0.1, 0.2, 40)
    metric = mean_over_images(a, "cosine", "total/t=300", "cosine", (-1, 1))
    expected = stats.ttest_1samp(a, 0).confidence_interval()
    assert (metric.value, metric.n) == (pytest.approx(a.mean()), 40)
    assert metric.interval == pytest.approx((expected.low, expected.high), abs=1e-9)


def test_intervals_end_at_the_limits() -> None:
    assert mean_over_images([0.9, 1.0, 1.0], "share", "c", "fraction", (0, 1)).interval[1] == 1.0


def test_what_has_no_spread_has_no_interval() -> None:
    with pytest.raises(Undefined, match="at least two"):
        mean_over_images([0.3], "cosine", "c", "cosine")
    with pytest.raises(Undefined, match=r"same value, 0\.3"):
        mean_over_images([0.3, 0.3], "cosine", "c", "cosine")
