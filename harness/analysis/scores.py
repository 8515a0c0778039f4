"""The analyses by name: from features to metrics with intervals."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from harness.analysis.sparse_autoencoder import SparseCodes, sparse_scores
from harness.metrics.features import jackknife
from harness.metrics.features.hypersphere import alignment, uniformity
from harness.metrics.features.probes import ProbeData, linear_probe, pca_classification_dimension
from harness.metrics.features.spectrum import participation_ratio, rankme
from harness.metrics.intervals import Undefined, of_mean, of_trainings
from harness.types import Metric, Stage

METHODS = {
    "probe": "Accuracy on the test images of a multinomial logistic regression on standardised features of the "
    "training images, the L2 penalty being chosen on a fifth of these. Interval: of Clopper and Pearson over test "
    "images.",
    "pca": "Smallest number of leading principal components in which such a probe reaches a share of its accuracy on "
    "all features. The definition is ours. Interval: percentile bootstrap over test images.",
    "rank": "RankMe of uncentred features; participation ratio of their covariance; both of the test images. Interval: "
    f"{jackknife.METHOD}.",
    "sphere": "Class alignment over pairs of test images of one class, uniformity over all pairs, t = 2, of unit "
    f"features. Interval: {jackknife.METHOD}.",
    "sae": "Errors on test images of TopK sparse autoencoders of the training images' features, each image's "
    "normalised first: mean of |x - x'|^2 / |x|^2, and fraction of variance unexplained. l0: latents used; dead: share "
    "of latents that no training image uses. Interval: Student's t over trainings, a point where all agree.",
}
"""The analyses: method and interval in words."""


@dataclass(frozen=True)
class FeatureScores:
    """Metrics of one network, and the reasons of those that are undefined, by analysis."""

    metrics: Sequence[Metric]
    left_out: dict[str, str]


def scored(
    data: ProbeData, analyses: Sequence[str], shares: Sequence[float], sparse: SparseCodes, seed: int, name: str,
    report: Callable[[Stage], None],
) -> FeatureScores:  # fmt: skip
    """The metrics of a network's features. name: of the network, for the progress."""

    def told(done: int, total: int) -> None:
        report(Stage(f"sparse autoencoders of {name}", done, total, "trainings"))

    functions: dict[str, Callable[[], list[Metric]]] = {
        "probe": lambda: _probe(data, seed),
        "pca": lambda: [_dimension(data, share, seed) for share in shares],
        "rank": lambda: _rank(data),
        "sphere": lambda: _sphere(data),
        "sae": lambda: _sparse(data, sparse, seed, told),
    }
    metrics: list[Metric] = []
    left_out = {}
    for number, analysis in enumerate(analyses):
        report(Stage(f"analyses of {name}", number, len(analyses), "analyses"))
        try:
            metrics += functions[analysis]()
        except Undefined as error:
            left_out[analysis] = str(error)
    report(Stage(f"analyses of {name}", len(analyses), len(analyses), "analyses"))
    return FeatureScores(metrics, left_out)


def _probe(data: ProbeData, seed: int) -> list[Metric]:
    right = linear_probe(data, seed).right
    value = float(right.mean())
    return [Metric("linear_probe_accuracy", "test", value, of_mean(right), len(right), "fraction", True)]


def _dimension(data: ProbeData, share: float, seed: int) -> Metric:
    found = pca_classification_dimension(data, share, seed)
    n, name = len(data.test_labels), "pca_classification_dimension"
    return Metric(name, f"share={share:g}", float(found.value), found.interval, n, "dimensions", False)


def _rank(data: ProbeData) -> list[Metric]:
    rows = data.test_features
    return [
        _jackknifed("rankme", lambda places: rankme(rows[places]), len(rows), "dimensions", True),
        _jackknifed("participation_ratio", lambda places: participation_ratio(rows[places]), len(rows), "dimensions",
                    True),
    ]  # fmt: skip


def _sphere(data: ProbeData) -> list[Metric]:
    rows, labels = data.test_features, data.test_labels
    return [
        _jackknifed("alignment", lambda p: alignment(rows[p], labels[p]), len(rows), "squared distance", False),
        _jackknifed("uniformity", lambda p: uniformity(rows[p]), len(rows), "nats", False),
    ]


def _jackknifed(name: str, statistic: Callable[..., float], n: int, unit: str, higher_is_better: bool) -> Metric:
    interval = jackknife.jackknife(statistic, n)
    return Metric(name, "test", statistic(np.arange(n)), interval, n, unit, higher_is_better)


def _sparse(data: ProbeData, settings: SparseCodes, seed: int, told: Callable[[int, int], None]) -> list[Metric]:
    metrics = []
    total, n = len(settings.active) * settings.seeds, len(data.test_labels)
    for place, active in enumerate(settings.active):
        scores = []
        for number in range(settings.seeds):
            told(place * settings.seeds + number, total)
            scores.append(sparse_scores(data.features, data.test_features, active, seed + number, settings))
        columns = {
            ("sae_normalised_mse", "fraction"): [score.normalised_mse for score in scores],
            ("sae_fvu", "fraction"): [score.unexplained for score in scores],
            ("sae_l0", "latents"): [score.used for score in scores],
            ("sae_dead", "fraction"): [score.dead for score in scores],
        }
        for (name, unit), values in columns.items():
            metrics.append(_over_seeds(name, f"k={active}", np.array(values), n, unit))
    told(total, total)
    return metrics


def _over_seeds(name: str, condition: str, values: np.ndarray, n: int, unit: str) -> Metric:
    value = float(values.mean())
    low, high = of_trainings(values, 0.0)
    # Where every training gives one value, such as L0 = k, the interval is that point.
    return Metric(name, condition, value, (value, value) if np.isnan(low) else (low, high), n, unit, False)
