"""Randomized smoothing: from vote counts to certificates (Cohen, Rosenfeld & Kolter, ICML 2019). Pure numpy, float64.

The smoothed classifier g answers with the class that the base classifier gives most often to x + sigma eps, with eps
standard normal. Where that class has probability p > 1/2, g is constant within the open l2 ball of radius
sigma Phi^-1(p) around x. Radii are in the units of the image scale [0, 1], in which the noise is added.

The probability is estimated, so a certificate is wrong with probability at most alpha, per image. The draws that select
the class and those that estimate its probability are independent, and their numbers are fixed beforehand: whoever looks
at counts in order to stop needs `harness.metrics.sequential` instead.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats
from statsmodels.stats.proportion import proportion_confint

from harness.metrics.accuracy import accuracy, mean_accuracy
from harness.metrics.intervals import Bools, Floats
from harness.types import HarnessError, Metric

Ints = NDArray[np.integer[Any]]

ABSTAIN = -1
"""The prediction of an image without a certificate at any radius that was asked; its radius is 0."""

RHO = 0.001
"""Error probability of `high_probability_accuracy`, as in the published code."""


def check(n0: int, n: int, alpha: float, sigma: float) -> None:
    """Raise `HarnessError` unless a certification with these settings means something.

    n0, n: noise draws that select the class and that estimate its probability, 1 <= n0 <= n.
    alpha: error probability of a certificate, in (0, 1). sigma: standard deviation of the noise, > 0, finite.
    """
    if not 0 < alpha < 1:
        raise HarnessError(
            f"alpha={alpha:g} is not the probability of a wrong certificate: give one between 0 and 1, such as 0.001."
        )
    if n0 < 1:
        raise HarnessError(f"n0={n0}: selecting a class takes at least one noise draw; the usual number is 100.")
    if n < n0:
        raise HarnessError(
            f"n={n} draws to estimate a probability are fewer than n0={n0} to select its class: raise n or lower n0."
        )
    if not 0 < sigma < np.inf:
        raise HarnessError(
            f"sigma={sigma:g} is no noise level: give a positive number, such as 0.5 on the scale [0, 1]."
        )


def right(prediction: Ints, label: Ints) -> Bools:
    """(N,) bool: the prediction is the label, and no abstention."""
    return (prediction == label) & (prediction != ABSTAIN)


def lower_bound(count: ArrayLike, n: ArrayLike, alpha: float) -> Floats:
    """One-sided lower confidence bound for a probability (Clopper & Pearson 1934), at level 1 - alpha.

    count, n: successes and draws, any shapes that broadcast. Returns float64 of that shape in [0, 1): the quantile at
    alpha of Beta(count, n - count + 1), and 0 where the count is 0, with or without draws.
    """
    count, n = np.broadcast_arrays(np.asarray(count), np.asarray(n))
    has_votes = count > 0
    # A stand-in of one success keeps statsmodels away from 0 / 0 where there are no votes.
    bound, _ = proportion_confint(
        np.where(has_votes, count, 1), np.where(has_votes, n, 1), alpha=2 * alpha, method="beta"
    )
    return np.where(has_votes, bound, 0.0)


def certify(selection: Ints, estimation: Ints, alpha: float, sigma: float) -> tuple[NDArray[np.int64], Floats]:
    """Cohen's CERTIFY: a class and a radius for each image.

    selection, estimation: (N, K) votes by class from independent draws; rows may have different totals, if these were
        fixed beforehand.
    Returns prediction (N,) int64, the class most often selected (of equals the lowest) or `ABSTAIN`, and radius (N,)
    float64, >= 0. An image abstains, with radius 0, when the bound of its class is below 1/2; exactly 1/2 is a
    certificate of radius 0.
    """
    if selection.ndim != 2 or selection.shape != estimation.shape or not selection.shape[1]:
        raise ValueError(f"expected two tables (N, K) of votes, got shapes {selection.shape} and {estimation.shape}")
    top = selection.argmax(axis=1)
    bound = lower_bound(estimation[np.arange(len(top)), top], estimation.sum(axis=1), alpha)
    certain = bound >= 0.5
    radius = np.where(certain, sigma * stats.norm.ppf(np.where(certain, bound, 0.5)), 0.0)
    return np.where(certain, top, ABSTAIN).astype(np.int64), radius


def largest_radius(n: int, alpha: float, sigma: float) -> float:
    """The radius of an image that wins all n votes; 0 when that is too few for any. No certificate is larger."""
    votes = np.array([[n]])
    return float(certify(votes, votes, alpha, sigma)[1][0])


def predict(counts: Ints, alpha: float) -> NDArray[np.int64]:
    """Cohen's PREDICT: the smoothed classifier's answer, wrong with probability at most alpha, or `ABSTAIN`.

    Two-sided binomial test of the two classes with most votes; abstains if and only if its p-value exceeds alpha.

    counts: (N, K) votes by class. Returns (N,) int64.
    """
    order = np.argsort(-counts, axis=1, kind="stable")
    ranked = np.take_along_axis(counts, order, axis=1)
    second = ranked[:, 1] if counts.shape[1] > 1 else np.zeros_like(ranked[:, 0])
    p = [stats.binomtest(int(a), int(a + b)).pvalue if a else 1.0 for a, b in zip(ranked[:, 0], second, strict=True)]
    return np.where(np.array(p) > alpha, ABSTAIN, order[:, 0]).astype(np.int64)


def smoothed_accuracy(correct: Bools, condition: str) -> Metric:
    """Accuracy of the smoothed classifier on clean images, with the interval of `accuracy`.

    correct: (N,) bool, False where `predict` abstains.
    """
    return replace(accuracy(correct, condition), name="smoothed_accuracy")


def certified_accuracy(correct: Bools, radius: Floats, r: float, condition: str) -> Metric:
    """Fraction of images that are right and certified at l2 radius r, with the interval of `accuracy`.

    correct: (N,) bool, the prediction is the label; False where it abstains. radius: (N,) float64, compared unrounded.
    """
    return replace(accuracy(correct & (radius >= r), at(condition, r)), name="certified_accuracy")


def high_probability_accuracy(correct: Bools, radius: Floats, r: float, alpha: float, condition: str) -> Metric:
    """Lower bound of the certified accuracy on *these* images, given that each certificate may be wrong.

    acc - alpha - sqrt(alpha (1 - alpha) ln(1/rho) / M) - ln(1/rho) / (3 M), cut at 0, for M images and rho = 0.001: the
    formula of the published code (`analyze.py` of Cohen et al. 2019). It leaves out the factor 2 that Bernstein's
    inequality has under the root, so that with many images the bound fails more often than rho: by the exact binomial
    tail at alpha = 0.001 first at M = 1,974, with probability up to 0.0017 for M <= 5,000, and towards 0.0043 as M
    grows. The interval is one-sided: from the bound to 1.

    correct, radius: as in `certified_accuracy`. alpha: the error probability of each certificate.
    """
    measured = certified_accuracy(correct, radius, r, condition)
    doubt = np.log(1 / RHO) / measured.n
    value = max(0.0, float(measured.value - alpha - np.sqrt(alpha * (1 - alpha) * doubt) - doubt / 3))
    return replace(measured, name="certified_accuracy_bound", value=value, interval=(value, 1.0))


def average_certified_radius(correct: Bools, radius: Floats, largest: float, condition: str) -> Metric:
    """Mean radius over images, 0 for those that are wrong or abstain (Zhai et al., ICLR 2020), in l2 units of [0, 1].

    The interval is `mean_accuracy`'s, for radii between 0 and the largest.

    correct, radius: as in `certified_accuracy`. largest: the radius that no image can exceed, see `largest_radius`.
    """
    # 1.0 only guards the division, where nothing can be certified; radii of a record may be a rounding above `largest`.
    share = mean_accuracy(
        np.minimum(np.where(correct, radius, 0.0)[:, None] / (largest or 1.0), 1.0), condition=condition
    )
    low, high = share.interval
    value, interval = share.value * largest, (low * largest, high * largest)
    return replace(share, name="average_certified_radius", value=value, interval=interval, unit="l2")


def abstention_rate(prediction: Ints, condition: str) -> Metric:
    """Fraction of images without any certificate, with the interval of `accuracy`.

    prediction: (N,) ints of `certify`.
    """
    rate = accuracy(prediction == ABSTAIN, condition)
    return replace(rate, name="abstention_rate", higher_is_better=False)


def share_of_draws(used: Ints, budget: int, condition: str) -> Metric:
    """Mean number of noise draws per image, as a share of the budget; the interval is `mean_accuracy`'s.

    used: (N,) draws of each image, selection included. budget: the most that any image may take.
    """
    return replace(mean_accuracy((used / budget)[:, None], "share_of_draws", condition), higher_is_better=False)


def curve(correct: Bools, radius: Floats, radii: Sequence[float], alpha: float, condition: str) -> list[Metric]:
    """Certified accuracy at some radii, then Cohen's bound of each.

    correct, radius: (N,) each, as in `certified_accuracy`. alpha: the error probability of each certificate.
    """
    return [
        *(certified_accuracy(correct, radius, r, condition) for r in radii),
        *(high_probability_accuracy(correct, radius, r, alpha, condition) for r in radii),
    ]


def envelope(metrics: Sequence[Metric], radii: Sequence[float]) -> tuple[list[Metric], str]:
    """Certified accuracy under the best noise level of each radius, and a note that names them.

    Selected after the fact, on the very images that it is reported for, and so optimistic; of equally good noise levels
    the first is taken.

    metrics: hold `certified_accuracy` at all radii under every noise level.
    """
    curves = [m for m in metrics if m.name == "certified_accuracy"]
    best = {r: max((m for m in curves if m.condition.endswith(at("", r))), key=lambda m: m.value) for r in radii}
    named = []
    for level, alike in groupby(
        radii, lambda r: best[r].condition.removesuffix(at("", r)) if best[r].value else "none"
    ):
        first, *rest = alike
        named.append(f"{level} at r={first:g}" + (f" to {rest[-1]:g}" if rest else ""))
    note = "Condition 'best sigma': the best noise level of each radius, selected after the fact, with its interval"
    return [replace(best[r], condition=at("best sigma", r)) for r in radii], f"{note}: {', '.join(named)}."


def at(condition: str, r: float) -> str:
    """The condition of certified accuracy at radius r under a noise level."""
    return f"{condition} r={r:g}"
