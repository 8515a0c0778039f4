"""Linear probes: how much of the classes a linear classifier finds in features, and in how many dimensions."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.base.noise import generator
from harness.metrics.features.spectrum import principal_axes
from harness.metrics.intervals import TAIL, Interval, Undefined

Floats = NDArray[np.floating[Any]]
Ints = NDArray[np.integer[Any]]
Bools = NDArray[np.bool_]

STRENGTHS = (1e-3, 1e-2, 1e-1, 1.0, 10.0, 100.0)
"""Candidates for the inverse strength C of the L2 penalty, per summed loss of the images, as scikit-learn has it."""

HELD_OUT = 0.2
"""Share of the training images, of each class, that the penalty is chosen on."""

ITERATIONS = 500
"""Iterations of L-BFGS at most."""

RESAMPLES = 1_000
"""Bootstrap samples of the test images."""


@dataclass(frozen=True, eq=False)
class ProbeData:
    """Features and labels of images to learn from and of images to be tested on.

    features: (n, D) and (m, D). labels: (n,) and (m,), int64.
    """

    features: Floats
    labels: Ints
    test_features: Floats
    test_labels: Ints


@dataclass(frozen=True, eq=False)
class LinearProbe:
    """A fitted probe. right: (m,), whether each test image is classified rightly. strength: the chosen C."""

    right: Bools
    strength: float

    @property
    def accuracy(self) -> float:
        """Share of the test images that are classified rightly."""
        return float(self.right.mean())


def linear_probe(data: ProbeData, seed: int = 0, strength: float | None = None) -> LinearProbe:
    """Multinomial logistic regression on standardised features, with an L2 penalty.

    Features are divided by their standard deviations on the images to learn from, after their mean is taken off. The
    penalty is the strongest of `STRENGTHS` with the best accuracy on a fifth of those images; the probe is then fitted
    to all of them. seed: of the choice of that fifth. strength: C, where it is known.
    Raises `Undefined` for fewer than two classes, and for a class with fewer than two images.
    """
    counts = np.unique(data.labels, return_counts=True)[1]
    if len(counts) < 2 or counts.min() < 2:
        raise Undefined("A linear probe needs two classes, and two images of each to learn from.")
    train, test = _standardised(data.features, data.test_features)
    if strength is None:
        strength = _chosen(train, data.labels, seed)
    model = _fitted(train, data.labels, strength)
    return LinearProbe(np.asarray(model.predict(test) == data.test_labels), strength)


def held_out(labels: Ints, seed: int = 0, share: float = HELD_OUT) -> Bools:
    """Images (n,) that are held out: a share of each class, one at least, by a keyed order."""
    chosen = np.zeros(len(labels), dtype=bool)
    order = generator(seed, "probe-held-out", "").permutation(len(labels))
    for label in np.unique(labels):
        members = order[labels[order] == label]
        chosen[members[: max(1, round(share * len(members)))]] = True
    return chosen


def cross_validated(features: Floats, labels: Ints, seed: int = 0, folds: int = 5) -> Bools:
    """Whether each image (n,) is classified rightly by a probe that has learnt from the other folds.

    Folds hold equal shares of each class, by a keyed order. The penalty of each probe is chosen without its fold.
    """
    order = generator(seed, "probe-folds", "").permutation(len(labels))
    order = order[np.argsort(labels[order], kind="stable")]
    fold = np.empty(len(labels), dtype=np.int64)
    fold[order] = np.arange(len(labels)) % folds
    right = np.empty(len(labels), dtype=bool)
    for number in range(folds):
        out = fold == number
        right[out] = linear_probe(ProbeData(features[~out], labels[~out], features[out], labels[out]), seed).right
    return right


@dataclass(frozen=True)
class Dimension:
    """A number of dimensions. whole: accuracy in all of them. reached: accuracy in `value` of them."""

    value: int
    interval: Interval
    whole: float
    reached: float


def pca_classification_dimension(data: ProbeData, share: float, seed: int = 0) -> Dimension:
    """Smallest number of leading principal components in which a linear probe reaches a share of its full accuracy.

    The definition is this project's. Papers that speak of a classification dimension may mean another quantity, such
    as a manifold's capacity (Chung, Lee & Sompolinsky, 2018). Axes and probes are learnt from the training images, the
    penalty is chosen once, on all features; accuracies are those of the test images. Components are standardised like
    features, so that narrow ones count as much as wide ones.

    The interval is the percentile bootstrap's over the test images, the training images being fixed.
    share: of the accuracy on all features, in (0, 1].
    """
    mean, axes = principal_axes(data.features)
    parts = ProbeData((data.features - mean) @ axes.T, data.labels, (data.test_features - mean) @ axes.T,
                      data.test_labels)  # fmt: skip
    whole = linear_probe(data, seed)
    drawn = generator(seed, "probe-bootstrap", "").multinomial(
        len(whole.right), np.full(len(whole.right), 1 / len(whole.right)), RESAMPLES
    )
    first = np.full(RESAMPLES, len(axes))
    value, reached, open_ = len(axes), whole.accuracy, np.ones(RESAMPLES, dtype=bool)
    goals, found = share * (drawn @ whole.right), False
    for m in range(1, len(axes) + 1):
        part = ProbeData(parts.features[:, :m], parts.labels, parts.test_features[:, :m], parts.test_labels)
        probe = linear_probe(part, seed, whole.strength)
        if not found and probe.right.sum() >= share * whole.right.sum() - 1e-9:
            found, value, reached = True, m, probe.accuracy
        arrived = open_ & (drawn @ probe.right >= goals - 1e-9)
        first[arrived], open_ = m, open_ & ~arrived
        if found and open_.mean() < TAIL:
            break
    low, high = np.quantile(first, [TAIL, 1 - TAIL], method="inverted_cdf")
    return Dimension(value, (min(float(low), value), max(float(high), value)), whole.accuracy, reached)


def _chosen(features: Floats, labels: Ints, seed: int) -> float:
    """The strongest penalty with the best accuracy on the held-out images."""
    out = held_out(labels, seed)
    scores = [
        float((_fitted(features[~out], labels[~out], strength).predict(features[out]) == labels[out]).mean())
        for strength in STRENGTHS
    ]
    return STRENGTHS[int(np.argmax(scores))]


def _fitted(features: Floats, labels: Ints, strength: float) -> Any:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    with warnings.catch_warnings():
        # A weak penalty on separable classes ends at the largest number of iterations, which is part of the definition.
        warnings.simplefilter("ignore", ConvergenceWarning)
        return LogisticRegression(C=strength, max_iter=ITERATIONS).fit(features, labels)


def _standardised(features: Floats, *others: Floats) -> Sequence[Floats]:
    """Features and others by the mean and the standard deviation of the first; constant columns become 0."""
    mean, std = features.mean(0, dtype=np.float64), features.std(0, dtype=np.float64)
    scale = np.where(std > 0, std, 1.0)
    return [(np.asarray(values, dtype=np.float64) - mean) / scale for values in (features, *others)]
