"""Certificates from counts: against the published code's numbers, hand arithmetic, and inputs at the edges."""

from __future__ import annotations

import json
from math import log, sqrt
from typing import Any

import numpy as np
import pytest
from helpers import RECORDED_FOLDER
from scipy import stats

from harness.diffusion.schedule import Schedule, cosine, linear
from harness.metrics import intervals
from harness.metrics.certification import (
    ABSTAIN,
    abstention_rate,
    average_certified_radius,
    certified_accuracy,
    certify,
    check,
    curve,
    envelope,
    high_probability_accuracy,
    largest_radius,
    lower_bound,
    predict,
    share_of_draws,
    smoothed_accuracy,
)
from harness.types import HarnessError

GOLDEN = json.loads((RECORDED_FOLDER / "certification.json").read_text())
CORRECT = np.array([True, True, True, False])
RADIUS = np.array([0.5, 0.25, 0.0, 1.0])


def two_class(count: int, n: int) -> np.ndarray:
    return np.array([[count, n - count]])


def test_radii_are_those_of_the_published_code() -> None:
    """194 counts: bounds, radii and abstentions within 1e-9."""
    for n, alpha, sigma, count, bound, abstains, radius in GOLDEN["radius_table"]:
        assert lower_bound(count, n, alpha) == pytest.approx(bound, abs=1e-9)
        prediction, radii = certify(np.array([[100, 0]]), two_class(count, n), alpha, sigma)
        assert (prediction[0] == ABSTAIN) == abstains
        assert radii[0] == pytest.approx(radius, abs=1e-9)


def test_fewest_votes_that_certify() -> None:
    for n, alpha, fewest in GOLDEN["min_count_to_certify"]:
        around = np.arange(n + 1) if fewest is None else np.array([0, fewest - 1, fewest, n])
        certain = lower_bound(around, n, alpha) >= 0.5
        assert certain.tolist() == [fewest is not None and k >= fewest for k in around]


@pytest.mark.parametrize("case", GOLDEN["certify_cases"], ids=lambda c: c["note"])
def test_certify_agrees_with_the_published_code(case: dict[str, Any]) -> None:
    selection, estimation = np.array([case["counts_selection"]]), np.array([case["counts_estimation"]])
    prediction, radius = certify(selection, estimation, case["alpha"], case["sigma"])
    assert (prediction.dtype, radius.dtype) == (np.int64, np.float64)
    assert prediction[0] == case["class"]
    assert radius[0] == pytest.approx(case["radius"], abs=1e-9)


@pytest.mark.parametrize("case", GOLDEN["predict_cases"], ids=lambda c: c["note"])
def test_predict_agrees_with_the_published_code(case: dict[str, Any]) -> None:
    counts = np.array([case["counts"]])
    assert predict(counts, case["alpha"])[0] == case["result"]
    assert predict(counts, case["p_value"] * (1 - 1e-9))[0] == ABSTAIN


def test_predict_at_the_edges() -> None:
    """Ties and images without votes abstain; 10 of 10 have p = 2^-9 > 0.001; p equal to alpha is an answer."""
    counts = np.array([[5, 5, 0], [0, 0, 0], [0, 10, 0], [0, 3, 40]])
    assert predict(counts, 0.001).tolist() == [ABSTAIN, ABSTAIN, ABSTAIN, 2]
    assert predict(counts[2:3], 2.0**-9).tolist() == [1]
    assert predict(np.array([[11], [3]]), 0.001).tolist() == [0, ABSTAIN]


def test_bound_is_clopper_pearsons_and_never_nan() -> None:
    n = np.array([0, 1, 7, 7, 100])
    count = np.array([0, 1, 0, 4, 100])
    bound = lower_bound(count, n, 0.01)
    assert bound == pytest.approx([0, 0.01, 0, stats.beta.ppf(0.01, 4, 4), 0.01 ** (1 / 100)], abs=1e-12)
    assert stats.binom.sf(3, 7, bound[3]) == pytest.approx(0.01)
    assert lower_bound(np.full((2, 3), 4), 7, 0.01).shape == (2, 3)
    assert float(lower_bound(0, 0, 0.001)) == 0


def test_rows_with_different_totals_are_certified_as_if_alone() -> None:
    rng = np.random.default_rng(0)
    selection = rng.multinomial(100, [0.7, 0.2, 0.1], size=30)
    estimation = np.stack([rng.multinomial(n, [0.8, 0.1, 0.1]) for n in rng.integers(0, 400, 30)])
    together = certify(selection, estimation, 0.001, 0.25)
    for i in range(30):
        alone = certify(selection[i : i + 1], estimation[i : i + 1], 0.001, 0.25)
        assert (together[0][i], together[1][i]) == (alone[0][0], alone[1][0])


def test_no_votes_and_no_images() -> None:
    prediction, radius = certify(np.zeros((2, 3), int), np.array([[0, 0, 0], [50, 0, 0]]), 0.001, 0.5)
    assert prediction.tolist() == [ABSTAIN, 0] and radius[0] == 0 < radius[1]
    assert [len(column) for column in certify(np.zeros((0, 3), int), np.zeros((0, 3), int), 0.001, 0.5)] == [0, 0]
    with pytest.raises(ValueError, match="shapes"):
        certify(np.zeros((2, 3), int), np.zeros((2, 4), int), 0.001, 0.5)


def test_radius_scales_with_sigma_and_has_a_largest_value() -> None:
    small, large = (certify(two_class(100, 100), two_class(990, 1000), 0.001, s)[1][0] for s in (0.25, 1.0))
    assert large == pytest.approx(4 * small)
    assert largest_radius(100_000, 0.001, 0.5) == pytest.approx(1.905728, abs=1e-6)
    assert largest_radius(9, 0.001, 0.5) == 0


def test_certified_accuracy_counts_right_images_with_a_radius_at_least_r() -> None:
    values = [certified_accuracy(CORRECT, RADIUS, r, "sigma=0.5").value for r in (0, 0.25, 0.2500001, 0.5, 0.75)]
    assert values == [0.75, 0.5, 0.25, 0.25, 0]
    metric = certified_accuracy(CORRECT, RADIUS, 0.25, "sigma=0.5")
    assert (metric.name, metric.condition, metric.n) == ("certified_accuracy", "sigma=0.5 r=0.25", 4)
    assert metric.interval == pytest.approx((0.0676, 0.9324), abs=1e-4)


def test_high_probability_bound_by_hand() -> None:
    """Cohen et al. with 500 images, alpha = rho = 0.001: 0.6 - 0.001 - 0.0037149 - 0.0046052."""
    correct = np.arange(500) < 300
    metric = high_probability_accuracy(correct, np.ones(500), 0.5, 0.001, "")
    doubt = log(1000) / 500
    assert metric.value == pytest.approx(0.6 - 0.001 - sqrt(0.001 * 0.999 * doubt) - doubt / 3, abs=1e-12)
    assert metric.value == pytest.approx(0.59068, abs=1e-5)
    assert metric.interval == (metric.value, 1.0)
    assert high_probability_accuracy(~CORRECT, RADIUS, 0.5, 0.001, "").value == 0


def test_high_probability_bound_fails_as_often_as_it_says() -> None:
    """Wrong certificates of M independent ones that it cannot bear, by the exact binomial tail; rho is 0.001."""
    for m, probability in ((1_000, 0.000588), (1_973, 0.000999), (1_974, 0.001002), (4_888, 0.001653)):
        slack = 1 - high_probability_accuracy(np.ones(m, bool), np.ones(m), 0.5, 0.001, "").value
        assert stats.binom.sf(np.floor(m * slack), m, 0.001) == pytest.approx(probability, abs=1e-6)
    assert stats.norm.sf(sqrt(log(1000))) == pytest.approx(0.0043, abs=5e-5)


def test_average_certified_radius_and_its_interval() -> None:
    metric = average_certified_radius(CORRECT, RADIUS, 2.0, "sigma=0.5")
    assert (metric.value, metric.unit) == (0.1875, "l2")
    low, high = intervals.of_mean(np.array([0.5, 0.25, 0, 0]), 0.0, 2.0)
    assert metric.interval == pytest.approx((low, high), abs=1e-9) and 0 < low < 0.1 and 1 < high < 1.5
    none = average_certified_radius(np.zeros(4, bool), RADIUS, 2.0, "")
    assert none.value == none.interval[0] == 0 < none.interval[1] < 2.0
    assert average_certified_radius(CORRECT, np.zeros(4), 0.0, "").interval == (0, 0)
    one = average_certified_radius(CORRECT[:1], RADIUS[:1], 2.0, "")
    assert one.interval[0] < 0.5 < one.interval[1]


def test_abstentions_are_wrong_and_counted() -> None:
    label, prediction = np.array([3, ABSTAIN, 2, 2]), np.array([3, ABSTAIN, ABSTAIN, 1])
    rate = abstention_rate(prediction, "")
    assert (rate.value, rate.higher_is_better) == (0.5, False)
    right = (prediction == label) & (prediction != ABSTAIN)
    metrics = curve(right, np.array([0.5, 0, 0, 0.7]), (0.0, 0.5), 0.001, "s")
    assert [(m.name, m.condition, m.value) for m in metrics if m.name == "certified_accuracy"] == [
        ("certified_accuracy", "s r=0", 0.25),
        ("certified_accuracy", "s r=0.5", 0.25),
    ]
    assert share_of_draws(np.array([100, 300]), 400, "s").value == 0.5
    assert smoothed_accuracy(predict(np.array([[9, 0], [50, 1]]), 0.001) == 0, "s").value == 0.5


def test_the_envelope_names_the_noise_level_that_it_takes() -> None:
    """By hand: of three images low certifies all three at 0 and one at 0.5, high two up to 0.5; neither any at 1."""
    radii, right = (0.0, 0.5, 1.0), np.array([True, True, True])
    low = curve(right, np.array([0.5, 0.2, 0.2]), radii, 0.001, "sigma=0.25")
    high = curve(np.array([True, True, False]), np.array([0.7, 0.5, 0.0]), radii, 0.001, "sigma=1")
    best, note = envelope([*low, *high], radii)
    assert [(m.name, m.condition) for m in best] == [("certified_accuracy", f"best sigma r={r:g}") for r in radii]
    assert [m.value for m in best] == pytest.approx([1, 2 / 3, 0])
    assert note.endswith("with its interval: sigma=0.25 at r=0, sigma=1 at r=0.5, none at r=1.")
    assert envelope(low, radii)[1].endswith("sigma=0.25 at r=0 to 0.5, none at r=1.")


@pytest.mark.parametrize(
    ("n0", "n", "alpha", "sigma", "message"),
    [
        (100, 1000, 0.0, 0.5, "alpha=0 .* between 0 and 1"),
        (100, 1000, 1.0, 0.5, "alpha=1"),
        (100, 1000, float("nan"), 0.5, "alpha=nan"),
        (0, 1000, 0.001, 0.5, "n0=0.*at least one"),
        (100, 99, 0.001, 0.5, "n=99 .* fewer than n0=100 .* raise n or lower n0"),
        (100, 1000, 0.001, 0.0, "sigma=0 .* positive"),
        (100, 1000, 0.001, -0.5, "sigma=-0.5"),
        (100, 1000, 0.001, float("nan"), "sigma=nan"),
    ],
)
def test_bad_settings_are_answered_with_a_remedy(n0: int, n: int, alpha: float, sigma: float, message: str) -> None:
    with pytest.raises(HarnessError, match=message):
        check(n0, n, alpha, sigma)
    check(100, 100, 0.001, 0.5)


@pytest.mark.parametrize(("schedule", "name"), [(linear(), "imagenet"), (cosine(4000), "cifar10")], ids=str)
def test_diffusion_time_of_a_noise_level(schedule: Schedule, name: str) -> None:
    """145, 259 and 396 on ImageNet's linear schedule for sigma 0.25, 0.5 and 1; 1158, 1984 and 2809 on CIFAR-10's."""
    for sigma, t in GOLDEN["timesteps"][name]:
        assert schedule.time_of(sigma) == t
        ratio = np.sqrt((1 - schedule.alpha_bar) / schedule.alpha_bar)
        assert ratio[t - 1] < 2 * sigma <= ratio[t]


def test_diffusion_time_at_the_edges() -> None:
    schedule = linear()
    assert schedule.time_of(1e-9) == 1
    short = schedule.respaced(50)
    assert short.time_of(0.5) == int(np.argmax(short.alpha_bar <= 0.5))
    largest = float(np.sqrt((1 - schedule.alpha_bar[-1]) / schedule.alpha_bar[-1])) / 2
    assert schedule.time_of(largest) == 999
    with pytest.raises(HarnessError, match=rf"sigma=80: give at most {np.floor(largest * 1000) / 1000:.3f}\."):
        schedule.time_of(80)
    ends_in_noise = Schedule(np.array([0.1, 0.5, 1.0]), np.arange(3))
    assert ends_in_noise.time_of(0.5) == 1
    with pytest.raises(HarnessError, match="sigma=10: give at most"):
        ends_in_noise.time_of(10)
    with pytest.raises(HarnessError, match="no time but 0"):
        linear().at([0]).time_of(0.001)
    for sigma in (0.0, -1.0, float("nan")):
        with pytest.raises(HarnessError, match="no noise level"):
            schedule.time_of(sigma)
