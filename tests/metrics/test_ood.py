"""Metrics of OOD detection against recorded values, scikit-learn, pairs counted one by one, and simulated truth.

`recorded/ood_metrics.npz` holds scores and what OpenOOD (main, 3c35632e) computes from them: FPR@95, AUROC, AUPR_IN and
AUPR_OUT. Its tag v1.5, whose values are there as `metric_v15tag`, takes ID images for the positives of FPR@95.
"""

from __future__ import annotations

import numpy as np
import pytest
from helpers import RECORDED_FOLDER
from numpy.typing import NDArray
from scipy import stats
from sklearn import metrics as reference

from harness.metrics import ood
from harness.metrics.delong import Components, rank
from harness.metrics.intervals import Undefined
from harness.metrics.ood import (
    RATES,
    PairedAUROC,
    aupr,
    auroc,
    auroc_metric,
    compare,
    compare_auroc,
    fpr95,
    rates,
    summary,
)
from harness.types import HarnessError, Metric

Array = NDArray[np.floating]

GOLDEN = dict(np.load(RECORDED_FOLDER / "ood_metrics.npz"))
CASES = sorted({key.split("/")[1] for key in GOLDEN if key.startswith("mcase/")})
SETS = sorted(key.removeprefix("metric/") for key in GOLDEN if key.startswith("metric/"))


def normal(rng: np.random.Generator, n_id: int = 40, n_ood: int = 30, shift: float = 1.0) -> tuple[Array, Array]:
    return rng.normal(shift, 1, n_id), rng.normal(0, 1, n_ood)


def tied(rng: np.random.Generator) -> tuple[Array, Array]:
    """1 to 60 images on each side with scores among at most 12 values."""
    inside, outside = (rng.integers(0, rng.integers(1, 13), size=n) / 7 for n in rng.integers(1, 61, size=2))
    return inside, outside


def wins(id_scores: Array, ood_scores: Array) -> Array:
    """(n_id, n_ood): 1 where the ID image scores higher, 1/2 for a tie."""
    return np.array([[1.0 if x > y else 0.5 if x == y else 0.0 for y in ood_scores] for x in id_scores])


def covariance(a: Array, b: Array) -> float:
    """DeLong's covariance of two AUROCs, from the wins of all pairs of images."""
    rows = np.cov(a.mean(axis=1), b.mean(axis=1))[0, 1] / len(a)
    return float(rows + np.cov(a.mean(axis=0), b.mean(axis=0))[0, 1] / a.shape[1])


def variance(components: Components) -> float:
    """DeLong's, from the moments with the limit at the value itself, where half an image more adds no spread."""
    return components.moments(components.value)[1]


def check_golden(id_scores: Array, ood_scores: Array, golden: Array, tag: Array) -> None:
    assert fpr95(id_scores, ood_scores) == golden[0]
    assert fpr95(id_scores, ood_scores, "id") == tag[0]
    assert auroc(id_scores, ood_scores) == pytest.approx(golden[1], abs=1e-5)
    assert aupr(id_scores, ood_scores, "in") == pytest.approx(golden[2], abs=1e-5)
    assert aupr(id_scores, ood_scores, "out") == pytest.approx(golden[3], abs=1e-5)


@pytest.mark.parametrize("name", CASES)
def test_edge_cases_have_openoods_values(name: str) -> None:
    confidence, inside = GOLDEN[f"mcase/{name}/conf"], GOLDEN[f"mcase/{name}/label"] >= 0
    golden, tag = GOLDEN[f"mcase/{name}/metric"], GOLDEN[f"mcase/{name}/metric_v15tag"]
    check_golden(confidence[inside], confidence[~inside], golden, tag)


@pytest.mark.parametrize("name", SETS)
def test_detectors_have_openoods_values(name: str) -> None:
    inside, outside = GOLDEN[f"score/{name.split('/')[0]}/test"], GOLDEN[f"score/{name}"]
    check_golden(inside, outside, GOLDEN[f"metric/{name}"], GOLDEN[f"metric_v15tag/{name}"])


def test_values_agree_with_scikit_learn_on_ties() -> None:
    rng = np.random.default_rng(0)
    for _ in range(150):
        inside, outside = tied(rng)
        is_id = np.repeat([1, 0], [len(inside), len(outside)])
        scores = np.concatenate((inside, outside))
        assert auroc(inside, outside) == pytest.approx(reference.roc_auc_score(is_id, scores), abs=1e-12)
        for label, sign, fpr_name, aupr_name in ((is_id, 1, "id", "in"), (1 - is_id, -1, "ood", "out")):
            fpr, tpr, _ = reference.roc_curve(label, sign * scores)
            assert fpr95(inside, outside, fpr_name) == fpr[np.argmax(tpr >= 0.95)]
            precision, recall, _ = reference.precision_recall_curve(label, sign * scores)
            assert aupr(inside, outside, aupr_name) == pytest.approx(reference.auc(recall, precision), abs=1e-12)


def test_fpr_is_read_at_a_corner() -> None:
    """One ID and one OOD image at each of 20 scores: the curve is one diagonal, and its only corner is its end."""
    scores = np.arange(20.0)
    assert fpr95(scores, scores, "ood") == fpr95(scores, scores, "id") == 1.0
    assert fpr95(np.append(scores, 19.0), scores) == pytest.approx(19 / 21)


def test_weights_have_the_values_of_their_copies() -> None:
    """An image of weight two counts as two images of its score; where all weigh the same, nothing changes."""
    rng = np.random.default_rng(1)
    for _ in range(150):
        inside, outside = tied(rng)
        ranked = rank(inside, outside)
        once = np.ones(len(inside)), np.ones(len(outside))
        assert rates(*ranked.counts(*once)).tolist() == rates(*ranked.counts()).tolist()
        times = tuple(rng.integers(1, 4, size=len(rows)) for rows in once)
        copies = np.repeat(inside, times[0]), np.repeat(outside, times[1])
        weighed = ranked.counts(*(t.astype(float) for t in times))
        assert rates(*weighed) == pytest.approx(rates(*rank(*copies).counts()), abs=1e-12)


@pytest.mark.parametrize("digits", [0, 8])
def test_delong_agrees_with_all_pairs(digits: int) -> None:
    """Variance of one AUROC and of a difference, with and without ties, and of means over sets of different sizes."""
    rng = np.random.default_rng(2)
    a_id, b_id = rng.multivariate_normal([0.8, 1.0], [[1, 0.6], [0.6, 1]], size=450).T.round(digits)
    pairs = {n: rng.multivariate_normal([0, 0], [[1, 0.4], [0.4, 1]], size=n).T.round(digits) for n in (200, 350)}
    a_ood, b_ood = ({str(n): pair[k] for n, pair in pairs.items()} for k in (0, 1))
    a, b = ([wins(x, y) for y in ood.values()] for x, ood in ((a_id, a_ood), (b_id, b_ood)))
    ranked = [[rank(x, y) for y in ood.values()] for x, ood in ((a_id, a_ood), (b_id, b_ood))]

    single = auroc_metric(a_id, {"200": a_ood["200"]}, "near/200")
    assert (single.name, single.condition, single.n, single.unit) == ("auroc", "near/200", 650, "fraction")
    assert single.value == auroc(a_id, a_ood["200"]) == pytest.approx(a[0].mean(), abs=1e-12)
    first, other = (Components.of(side[:1]) for side in ranked)
    assert variance(first) == pytest.approx(covariance(a[0], a[0]), rel=0.03)
    both = covariance(a[0], a[0]) + covariance(b[0], b[0]) - 2 * covariance(a[0], b[0])
    assert variance(other - first) == pytest.approx(both, rel=0.03)
    paired = compare_auroc(a_id, {"200": a_ood["200"]}, b_id, {"200": b_ood["200"]})
    assert paired.difference == pytest.approx(b[0].mean() - a[0].mean(), abs=1e-12)

    def mean_variance(first: Array, second: Array) -> float:
        """The covariance of two AUROCs on other OOD images is that of their ID placements."""
        shared = np.cov(first.mean(axis=1), second.mean(axis=1))[0, 1] / len(first)
        return (covariance(first, first) + covariance(second, second) + 2 * shared) / 4

    mean = auroc_metric(a_id, a_ood, "near")
    assert (mean.value, mean.n) == (pytest.approx((a[0].mean() + a[1].mean()) / 2), 1000)
    components = [Components.of(side) for side in ranked]
    assert variance(components[0]) == pytest.approx(mean_variance(*a), rel=0.03)
    assert variance(components[1] - components[0]) == pytest.approx(mean_variance(b[0] - a[0], b[1] - a[1]), rel=0.03)
    assert compare_auroc(a_id, a_ood, b_id, dict(reversed(b_ood.items()))) == compare_auroc(a_id, a_ood, b_id, b_ood)


@pytest.mark.parametrize("area", [0.75, 0.99, 0.999])
def test_intervals_of_auroc_cover_the_truth(area: float) -> None:
    """In 94 % of 300 samples of 100 images or more, less two standard errors: of normal scores, of OOD scores with
    three times the spread, and where few OOD images score above all ID images; and of means over two data sets.
    """
    rng, held = np.random.default_rng(3), np.zeros(4)
    for _ in range(300):
        for k, spread in enumerate((1.0, 3.0)):
            shift = stats.norm.ppf(area) * np.hypot(1, spread)
            inside, ood = rng.normal(shift, 1, 100), {"a": rng.normal(0, spread, 100), "b": rng.normal(0, spread, 50)}
            for place, sets in ((k, {"a": ood["a"]}), (2, ood)):
                low, high = auroc_metric(inside, sets, "near").interval
                held[place] += (low <= area <= high) / (2 if place == 2 else 1)
        few = np.where(rng.random(100) < 1 - area, 2.0, -1.0)
        low, high = auroc_metric(rng.random(100), {"a": few}, "near").interval
        held[3] += low <= area <= high
    assert (held / 300 > 0.94 - 2 * np.sqrt(0.94 * 0.06 / 300)).all()


def test_intervals_of_rates_cover_the_truth_near_their_ends() -> None:
    """Normal scores 3.5 apart. FPR@95 is Phi(1.645 - 3.5) either way."""
    rng, held = np.random.default_rng(12), np.zeros(2)
    truth = stats.norm.cdf(stats.norm.ppf(0.95) - 3.5)
    for _ in range(20):
        inside, outside = normal(rng, 60, 60, shift=3.5)
        intervals = {m.name: m.interval for m in summary(inside, {"far": {"a": outside}})}
        held += [intervals[name][0] <= truth <= intervals[name][1] for name in ("fpr95_ood_pos", "fpr95_id_pos")]
    assert (held >= 17).all()


def test_the_paired_test_keeps_its_level_when_the_models_are_equally_good() -> None:
    rng = np.random.default_rng(4)
    p = []
    for _ in range(800):
        (a_id, b_id), *ood = (rng.multivariate_normal([m, m], [[1, 0.7], [0.7, 1]], n).T for m, n in ((1, 80), (0, 70)))
        p.append(compare_auroc(a_id, {"a": ood[0][0]}, b_id, {"a": ood[0][1]}).p)
    assert np.mean(np.array(p) < 0.05) < 0.07
    assert np.mean(np.array(p) < 0.5) > 0.2


def test_paired_comparison_has_a_direction() -> None:
    rng = np.random.default_rng(5)
    inside, outside = normal(rng, 200, 200, shift=0.5)
    better = compare_auroc(inside, {"a": outside}, inside + 1, {"a": outside})
    worse = compare_auroc(inside + 1, {"a": outside}, inside, {"a": outside})
    assert better.difference > 0 and better.p < 1e-6 and better.interval[0] > 0
    assert (worse.difference, worse.p) == (-better.difference, pytest.approx(better.p))
    assert worse.interval == pytest.approx((-better.interval[1], -better.interval[0]))


def test_comparison_by_condition() -> None:
    rng = np.random.default_rng(9)
    inside, near, far = (rng.normal(0, 1, (2, n)) for n in (30, 20, 25))
    a, b = ({"near": {"x": near[k], "y": far[k]}, "far": {"y": far[k]}} for k in (0, 1))
    results = compare(inside[0], a, inside[1], b)
    assert list(results) == ["near/x", "near/y", "near", "far/y", "far"]
    assert results["near"] == compare_auroc(inside[0], a["near"], inside[1], b["near"])
    assert results["near/x"] == compare_auroc(inside[0], {"x": near[0]}, inside[1], {"x": near[1]})
    assert results["far"] == results["far/y"] == results["near/y"]
    for less in ({"near": b["near"]}, {"near": {"x": near[1]}, "far": b["far"]}):
        for sides in ((inside[0], a, inside[1], less), (inside[1], less, inside[0], a)):
            with pytest.raises(HarnessError, match="same images"):
                compare(*sides)


@pytest.mark.filterwarnings("error")
def test_pairs_without_variance() -> None:
    """The same ranking twice, chance against perfect, and perfect against inverted, on 9 and 6 images: only the last is
    called a difference.
    """
    high, low = np.arange(9.0), np.arange(6.0)
    up, down, flat = (high + 9, low), (high, low + 9), (np.ones(9), np.ones(6))

    def paired(a: tuple[Array, Array], b: tuple[Array, Array]) -> PairedAUROC:
        return compare_auroc(a[0], {"a": a[1]}, b[0], {"a": b[1]})

    mixed = normal(np.random.default_rng(6), 9, 6)
    for a, b, difference in (
        (mixed, mixed, 0.0),
        (up, up, 0.0),
        (mixed, (np.exp(mixed[0]), np.exp(mixed[1])), 0.0),
        (flat, up, 0.5),
        (up, down, -1.0),
    ):
        result = paired(a, b)
        assert (result.difference, result.n) == (difference, 15)
        assert result.interval[0] <= difference <= result.interval[1]
        assert np.ptp(result.interval) > 0.2 and (result.p < 0.05) == (difference == -1)
        assert result.p == 1 or difference
    single = paired((mixed[0], mixed[1][:1]), (mixed[0], -mixed[1][:1]))
    assert (single.interval, single.p, single.n) == ((-1.0, 1.0), 1.0, 10)


@pytest.mark.filterwarnings("error")
def test_summary_at_the_edges() -> None:
    """All scores equal, perfect separation and a single OOD image have intervals that admit other images."""
    metrics = {(m.name, m.condition): m for m in summary(np.ones(30), {"near": {"equal": np.ones(20), "one": [1.0]}})}
    assert metrics["auroc", "near/equal"].value == 0.5
    low, high = metrics["auroc", "near/equal"].interval
    assert low + high == pytest.approx(1.0) and high - low > 0.1
    assert metrics["fpr95_ood_pos", "near/equal"].interval[1] == 1
    assert metrics["aupr_in", "near/equal"].value == pytest.approx((1 + 30 / 50) / 2)
    assert all(m.interval == (0.0, 1.0) for m in metrics.values() if m.condition != "near/equal")
    assert metrics["auroc", "near/one"].n == 31

    for metric in summary(np.arange(30) + 50.0, {"far": {"a": np.arange(20.0), "b": np.arange(25.0)}}):
        assert metric.value == float(metric.higher_is_better)
        assert metric.value in metric.interval
        assert 0.05 < np.ptp(metric.interval) < (0.25 if metric.name == "auroc" else 1.01)


def test_summary_names_what_it_found() -> None:
    rng = np.random.default_rng(7)
    inside, ssb = normal(rng, 60, 40, shift=2.0)
    ood = {"near": {"ssb": ssb, "ninco": rng.normal(0.5, 1, 30)}, "far": {"textures": rng.normal(-1, 1, 20).round(1)}}
    metrics = summary(inside, ood)
    conditions = ["near/ssb", "near/ninco", "near", "far/textures", "far"]
    assert [(m.condition, m.name) for m in metrics] == [(c, name) for c in conditions for name in ("auroc", *RATES)]
    assert {m.name for m in metrics if not m.higher_is_better} == {"fpr95_ood_pos", "fpr95_id_pos"}
    assert all(0 <= m.interval[0] <= m.value <= m.interval[1] <= 1 and m.unit == "fraction" for m in metrics)
    assert all(m.interval[0] < m.interval[1] for m in metrics)

    by_name = {(m.condition, m.name): m for m in metrics}
    ssb_metrics = {m.name: m.value for m in metrics if m.condition == "near/ssb"}
    assert ssb_metrics == {
        "auroc": auroc(inside, ssb),
        "fpr95_ood_pos": fpr95(inside, ssb, "ood"),
        "fpr95_id_pos": fpr95(inside, ssb, "id"),
        "aupr_in": aupr(inside, ssb, "in"),
        "aupr_out": aupr(inside, ssb, "out"),
    }
    for name in ("auroc", *RATES):
        values = [by_name[condition, name].value for condition in ("near/ssb", "near/ninco")]
        assert by_name["near", name].value == pytest.approx(np.mean(values), abs=1e-12)
        assert by_name["near", name].n == 130
    assert by_name["far", "aupr_in"].interval == by_name["far/textures", "aupr_in"].interval

    alone: list[Metric] = summary(inside, {"far": ood["far"]})
    assert alone == [m for m in metrics if m.condition.startswith("far")]


def test_a_mean_of_metrics_knows_its_shared_images() -> None:
    """Another data set is hardly news for few ID images and many OOD images; the other way it halves the variance."""
    rng = np.random.default_rng(8)

    def narrowing(n_id: int, n_ood: int, name: str) -> float:
        inside, first = normal(rng, n_id, n_ood)
        metrics = summary(inside, {"near": {"a": first, "b": rng.normal(0, 1, n_ood)}})
        width = {m.condition: m.interval[1] - m.interval[0] for m in metrics if m.name == name}
        return width["near"] / np.mean([width["near/a"], width["near/b"]])

    for name in ("auroc", "aupr_out"):
        assert narrowing(50, 2000, name) > 0.9
        assert narrowing(2000, 50, name) == pytest.approx(np.sqrt(0.5), abs=0.1)


def test_unusable_scores_are_refused() -> None:
    good = np.arange(5.0)
    with pytest.raises(HarnessError, match="3 of 5 scores of near/a images"):
        summary(good, {"near": {"a": [0.0, np.nan, np.inf, 1.0, -np.inf]}})
    with pytest.raises(HarnessError, match="1 of 2 scores of ID images"):
        auroc([np.nan, 1.0], good)
    with pytest.raises(Undefined, match="No ID images"):
        fpr95([], good)
    with pytest.raises(Undefined, match="No far/a images"):
        summary(good, {"far": {"a": []}})
    with pytest.raises(Undefined, match="Group 'far'"):
        summary(good, {"near": {"a": good}, "far": {}})
    with pytest.raises(Undefined, match="data sets"):
        auroc_metric(good, {}, "near")
    with pytest.raises(HarnessError, match="same images"):
        compare_auroc(good, {"a": good}, good, {"a": good[:4]})
    with pytest.raises(HarnessError, match="same images"):
        compare_auroc(good, {"a": good}, good, {"b": good})
    with pytest.raises(ValueError, match="one dimension"):
        aupr(good[:, None], good)


def test_versions_of_one_image_are_one_image() -> None:
    """Copies tell nothing new, independent versions tell as much as images; both by DeLong and by the bootstrap."""
    rng = np.random.default_rng(11)
    inside, outside = rng.normal(1, 1, 80), {"near": {"a": rng.normal(0, 1, 300), "b": rng.normal(0.3, 1, 200)}}
    names = [f"image {i:02d}" for i in range(80)]
    alone = {m.name + m.condition: m for m in ood.summary(inside, outside)}
    assert {m.name + m.condition: m for m in ood.summary(inside, outside, names)} == alone
    for metric in ood.summary(np.tile(inside, 4), outside, names * 4):
        once = alone[metric.name + metric.condition]
        assert metric.n == once.n
        if metric.name == "auroc":
            assert (metric.value, *metric.interval) == pytest.approx((once.value, *once.interval), rel=1e-9)
        elif metric.name == "fpr95_ood_pos":
            assert (metric.value, *metric.interval) == pytest.approx((once.value, *once.interval), abs=1e-9)
    other = rng.normal(1.2, 1, 80)
    pair = [{**outside["near"]}, {k: v + rng.normal(0, 1, len(v)) for k, v in outside["near"].items()}]
    once_pair = ood.compare_auroc(inside, pair[0], other, pair[1])
    copies = ood.compare_auroc(np.tile(inside, 3), pair[0], np.tile(other, 3), pair[1], names * 3)
    assert copies.p == pytest.approx(once_pair.p, rel=1e-6) and copies.interval == pytest.approx(once_pair.interval)
    # Pairs of independent rows: the clustered variance estimates the usual one.
    many = rng.normal(1, 1, 4000)
    usual = ood.auroc_metric(many, outside["near"], "near").interval
    paired = ood.auroc_metric(many, outside["near"], "near", [f"{i // 2}" for i in range(4000)]).interval
    assert paired == pytest.approx(usual, abs=0.002)
