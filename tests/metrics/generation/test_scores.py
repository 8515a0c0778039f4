"""Memorisation, and the list of all metrics: names, directions, refusals."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from harness.metrics.generation.inception_score import published_inception_score
from harness.metrics.generation.kernel import published_kid
from harness.metrics.generation.memorisation import expected_memorised, memorised
from harness.metrics.generation.moments import moments
from harness.metrics.generation.neighbours import neighbours
from harness.metrics.generation.scores import METRICS, ComparedFeatures, full_name
from harness.metrics.intervals import Undefined
from harness.types import HarnessError

RNG = np.random.default_rng(9)
REAL, FAKE = RNG.normal(size=(120, 8)), RNG.normal(size=(80, 8)) + 0.5


def scored(generated: np.ndarray, reference: np.ndarray = REAL) -> dict[str, float]:
    return {metric.name: metric.value for metric in ComparedFeatures("net", generated, reference).metrics()}


def test_memorised_samples_are_those_nearer_than_the_image_s_own_neighbour() -> None:
    training = np.array([[float(x), 0.0] for x in (0, 10, 20, 30, 50, 80, 120)])
    samples = np.array([[0.0, 9.0], [0.0, 11.0], [120.0, 39.0], [120.0, 41.0], [80.0, 0.0], [500.0, 0.0]])
    near = neighbours(samples, training)
    assert near.memorised.tolist() == [True, False, True, False, True, False]
    estimate = memorised(near)
    assert estimate.value == 0.5 and estimate.n == 6 and 0 < estimate.interval[0] < 0.5


def test_the_expected_share_is_that_of_fresh_images() -> None:
    """Not of a generator that knows nothing: half of all fresh images lie so near in eight dimensions."""
    rng = np.random.default_rng(10)
    shares, expected = [], []
    for _ in range(40):
        near = neighbours(rng.normal(size=(100, 8)), rng.normal(size=(101, 8)))
        shares.append(memorised(near).value)
        expected.append(expected_memorised(near.reference))
    assert np.mean(shares) == pytest.approx(np.mean(expected), abs=3 * np.std(shares) / 40**0.5)
    assert 0.3 < np.mean(shares) < 0.8


def test_the_expected_share_is_that_of_leaving_out_image_by_image() -> None:
    training = np.random.default_rng(11).integers(0, 6, (40, 3)).astype(float)  # with ties and copies
    inside = []
    for k in range(40):
        rest = np.delete(training, k, axis=0)
        own = [np.sort(((rest - row) ** 2).sum(1))[1] for row in rest]
        inside.append((((rest - training[k]) ** 2).sum(1) < own).any())
    assert expected_memorised(neighbours(training, training).reference) == np.mean(inside)


def test_every_metric_has_interval_unit_and_direction() -> None:
    sets = ComparedFeatures("net", FAKE, REAL, logits=lambda features: features[:, :3])
    metrics = sets.metrics("cfg/2")
    assert [metric.name for metric in metrics] == [f"{name}[net]" for name in METRICS]
    assert [metric.higher_is_better for metric in metrics] == [False] * 3 + [True] * 4 + [False, True]
    assert [metric.n for metric in metrics] == [80] * 9
    for metric in metrics:
        assert metric.interval[0] < metric.value < metric.interval[1]
        assert metric.condition == "cfg/2" and metric.unit


def test_only_distances_of_the_published_network_are_called_fid() -> None:
    names = [full_name(name, "inception", published=True) for name in ("fd", "fd_infinity", "kid", "precision")]
    assert names == ["fid", "fid_infinity", "kid[inception]", "precision[inception]"]
    assert full_name("fd", "inception-0123abcd") == "fd[inception-0123abcd]"


def test_a_metric_without_what_it_looks_at_is_undefined() -> None:
    target = moments(REAL)
    alone = ComparedFeatures("net", FAKE, None, statistics=target)
    assert alone.metric("fd") == ComparedFeatures("net", FAKE, REAL).metric("fd")
    with pytest.raises(Undefined, match="looks at single images"):
        alone.metric("recall")
    with pytest.raises(Undefined, match="gives no class probabilities"):
        alone.metric("inception_score")


def test_a_shifted_set_is_farther_than_a_fresh_one() -> None:
    fresh, shifted = scored(np.random.default_rng(12).normal(size=(80, 8))), scored(FAKE + 1)
    for name in ("fd[net]", "fd_infinity[net]", "kid[net]"):
        assert fresh[name] < shifted[name]
    for name in ("precision[net]", "density[net]", "coverage[net]"):
        assert fresh[name] > shifted[name]


def test_copies_of_training_images_are_memorised() -> None:
    assert scored(REAL[:80])["memorised[net]"] == 1.0


def test_few_samples_leave_out_the_extrapolation_alone() -> None:
    assert "fd_infinity[net]" not in scored(FAKE[:17]) and "fd[net]" in scored(FAKE[:17])
    assert "fd_infinity[net]" in scored(FAKE[:18])


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_features_that_are_not_finite_are_refused(bad: float) -> None:
    values = FAKE.copy()
    values[7, 2] = bad
    with pytest.raises(HarnessError, match=r"Features: 1 of 80 rows .* the first is row 7\..*float16"):
        scored(values)


def test_sets_that_do_not_belong_together_are_refused() -> None:
    with pytest.raises(HarnessError, match="8 dimensions, the reference 6"):
        scored(FAKE, REAL[:, :6])
    with pytest.raises(HarnessError, match=r"8 samples of 8 dimensions.*at least 9"):
        scored(FAKE[:8])
    with pytest.raises(HarnessError, match=r"shape \(80,\)"):
        scored(FAKE[:, 0])


def test_published_forms_are_those_of_torch_fidelity_and_are_called_what_they_are() -> None:
    rng = np.random.default_rng(5)
    sets = ComparedFeatures("x", rng.normal(size=(1200, 4)), rng.normal(size=(1100, 4)), logits=lambda rows: rows)
    kid, score = sets.published_forms(["kid", "inception_score"])
    form, (mean, deviation) = published_kid(sets.generated, sets.rows), published_inception_score(sets.generated)
    assert f"mean {form.mean:.5f} and standard deviation {form.deviation:.5f} of 100 subsets of 1,000" in kid
    assert f"mean {mean:.3f} and standard deviation {deviation:.3f} of 10 splits" in score
    assert all("no standard error" in sentence for sentence in (kid, score))
    few = replace(sets, generated=sets.generated[:999])
    assert not few.published_forms(["kid"]) and not sets.published_forms(["fd"])
