"""Selective classification: how well confidence ranks answers, so that the doubtful ones can be left out.

A threshold accepts the images whose confidence is at least as large: their share is the coverage, the share of errors
among them the selective risk. Images of equal confidence share a threshold; they are accepted together or not at all.

Arguments are (n_images, n_conditions), row by row the same source images; one condition is one column, and values over
several are the unweighted mean of each one's. Intervals are a bootstrap over images as `harness.metrics.intervals`
weighs them. Each replicate has one more image, as confident as one drawn at random: it decides against the end, that
is, for the worse end it is wrong under every condition, for the better end right. The largest coverage has tests in
place of a bootstrap: see `harness.metrics.confidence.safe_coverage`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
from numpy.typing import NDArray

from harness.base.noise import generator
from harness.metrics import intervals
from harness.metrics.accuracy import as_bools
from harness.metrics.confidence import safe_coverage
from harness.metrics.intervals import TAIL, Bools, Floats, Interval, Undefined
from harness.types import Metric

RISK, COVERAGE = 0.05, 0.80
"""Working points: largest risk of `coverage_at_5_risk`, least coverage of `risk_at_80_coverage`."""

REPLICATES = 1_000
"""Random weights of the images for each end of an interval."""

FEWEST = 200
"""The same for large tables, which need fewer: their intervals are narrow."""

CELLS = 2e8
"""Weighted answers, images times conditions times replicates, from which on a table is large."""

BLOCK = 2**15
"""Numbers that are worked on at a time, so that they stay in the processor's cache."""

FIRST, GRID = 256, 1_024
"""Thresholds of a replicate where there are more: the highest ones, and all together. Those between count as one."""


def risk_coverage(correct: Bools, confidence: Floats) -> tuple[Floats, Floats]:
    """The risk-coverage curve (El-Yaniv & Wiener, JMLR 2010): coverage and selective risk of every threshold.

    correct, confidence: (n,). Returns two arrays (n_thresholds,) in [0, 1], by rising coverage; the last coverage is 1.
    Raises `Undefined` where there is no image.
    """
    (correct,) = as_bools(1, correct)
    ranking = _Ranking.of(correct, confidence)
    accepted, wrong = ranking.totals(np.ones((1, len(correct))))
    return accepted[0] / len(correct), wrong[0] / accepted[0]


def summary(correct: Bools, confidence: Floats, condition: str) -> list[Metric]:
    """The four metrics of selective classification, all fractions in [0, 1].

    aurc: area under the risk-coverage curve, the mean over images of the selective risk at their confidence (Geifman,
        Uziel & El-Yaniv, ICLR 2019, section 2). Errors of the most confident images count most.
    augrc: area under the generalised risk-coverage curve, whose risk is the share of all images that are accepted and
        wrong (Traub et al., NeurIPS 2024, section 4): a wrong image's mean chance to be accepted at the confidence of
        another. Images of equal confidence are before and after one another with equal chance.
    coverage_at_5_risk: largest coverage of a threshold with a selective risk of at most 5 %; 0 where none has. It is
        the best of many noisy thresholds, so that it is biased upwards where the risk is near 5 % throughout.
    risk_at_80_coverage: selective risk of the highest threshold that accepts at least 80 %.

    confidence: of the predicted class. Raises `Undefined` for fewer than two images.
    """
    (correct,) = as_bools(2, correct)
    n = len(correct)
    if n < 2:
        raise Undefined("aurc: one image has no sampling variation; an interval needs at least two.")
    confidence = np.asarray(confidence)
    rankings = [_Ranking.of(*columns) for columns in zip(correct.T, confidence.T, strict=True)]
    totals = [ranking.totals(np.ones((1, n))) for ranking in rankings]
    aurc, augrc, at_coverage, within = np.mean([(*_values(*t)[0, 0], _coverage(*t)) for t in totals], axis=0)
    areas = _intervals([r.coarse() for r in rankings], n)
    ends = (*areas[:2], safe_coverage.interval(correct, confidence, RISK), areas[2])
    return [
        Metric(name, condition, float(value), (min(low, float(value)), max(high, float(value))), n, "fraction", higher)
        for (name, higher), value, (low, high) in zip(
            METRICS.items(), (aurc, augrc, within, at_coverage), ends, strict=True
        )
    ]


METRICS = {"aurc": False, "augrc": False, "coverage_at_5_risk": True, "risk_at_80_coverage": False}
"""The names of `summary`, in its order, and whether higher is better."""


@dataclass(frozen=True)
class _Ranking:
    """The images of one condition from the most confident to the least.

    order: (n,) their rows. place: (n,) the threshold that first accepts each row. ends: (n_thresholds,) the last
    position in `order` that each threshold accepts. wrong: (n,) in this order, 1 for errors.
    """

    order: NDArray[np.int64]
    place: NDArray[np.int64]
    ends: NDArray[np.int64]
    wrong: Floats

    @classmethod
    def of(cls, correct: Bools, confidence: Floats) -> _Ranking:
        order = np.argsort(-np.asarray(confidence), kind="stable")
        ranked = np.asarray(confidence)[order]
        ends = np.append(np.flatnonzero(ranked[1:] != ranked[:-1]), len(order) - 1)
        place = np.empty(len(order), dtype=np.int64)
        place[order] = np.searchsorted(ends, np.arange(len(order)))
        return cls(order, place, ends, 1.0 - np.asarray(correct)[order])

    def totals(self, weights: Floats) -> tuple[Floats, Floats]:
        """Weight of the accepted images, and of the wrong ones among them, (B, n_thresholds) each.

        weights: (B, n) of the rows, positive.
        """
        ranked = weights[:, self.order]
        accepted, wrong = ranked.cumsum(axis=1), (ranked * self.wrong).cumsum(axis=1)
        return accepted.take(self.ends, axis=1), wrong.take(self.ends, axis=1)

    def coarse(self) -> _Ranking:
        """The same with at most `GRID` thresholds."""
        if len(self.ends) <= GRID:
            return self
        kept = np.append(np.arange(FIRST), np.linspace(FIRST, len(self.ends) - 1, GRID - FIRST).round().astype(int))
        return replace(self, ends=self.ends[kept], place=np.searchsorted(kept, self.place))


def _coverage(accepted: Floats, wrong: Floats) -> float:
    """Largest coverage within `RISK` of one condition. accepted, wrong: (1, n_thresholds)."""
    coverage, risk = accepted / accepted[:, -1:], wrong / accepted
    return float(np.where(risk <= RISK + intervals.TINY, coverage, 0.0).max())


def _values(accepted: Floats, *wrongs: Floats) -> Floats:
    """AURC, AUGRC and the risk at `COVERAGE`, (W, B, 3), for W alternatives of the wrong weights.

    accepted, each of wrongs: (B, n_thresholds).
    """
    total = accepted[:, -1:]
    coverage = accepted / total
    share = _steps(coverage)
    first = (coverage >= COVERAGE - intervals.TINY).argmax(axis=1)
    sets = []
    for wrong in wrongs:
        risk = wrong / accepted
        # The wrong images of a threshold's own are before half of it and after the other half.
        middle = (wrong - _steps(wrong) / 2) / total
        at_coverage = np.take_along_axis(risk, first[:, None], axis=1)[:, 0]
        areas = [np.einsum("bt,bt->b", share, heights) for heights in (risk, middle)]
        sets.append(np.stack([*areas, at_coverage], axis=1))
    return np.stack(sets)


def _steps(sums: Floats) -> Floats:
    """Differences of running sums (B, n_thresholds), the first one from 0."""
    steps = sums.copy()
    steps[:, 1:] -= sums[:, :-1]
    return steps


def _intervals(rankings: Sequence[_Ranking], n: int) -> list[Interval]:
    """Intervals of `_values`: quantiles over random weights of the images and of one that decides against the end."""
    replicates = int(np.clip(CELLS / (n * len(rankings)), FEWEST, REPLICATES))
    rng, chunk = generator(0, "selective", ""), max(1, 2**21 // n)
    sides = [_replicates(rankings, n, min(chunk, replicates - start), rng) for start in range(0, replicates, chunk)]
    right, wrong = np.concatenate(sides, axis=1)
    return [_ends(right[:, number], wrong[:, number]) for number in range(right.shape[1])]


def _replicates(rankings: Sequence[_Ranking], n: int, count: int, rng: np.random.Generator) -> Floats:
    """`_values` with one more image that is right, and with one that is wrong, (2, count, 3)."""
    weights, more = rng.standard_exponential((count, n)), rng.standard_exponential((count, 1))
    like = rng.integers(n, size=count)
    sums = np.zeros((2, count, 3))
    block = max(1, BLOCK // n)
    for start, ranking in product(range(0, count, block), rankings):
        rows = slice(start, start + block)
        accepted, wrong = ranking.totals(weights[rows])
        # Thresholds that accept an image as confident as the one drawn.
        added = more[rows] * (np.arange(len(ranking.ends)) >= ranking.place[like[rows]][:, None])
        sums[:, rows] += _values(accepted + added, wrong, wrong + added)
    return sums / len(rankings)


def _ends(lower: Floats, upper: Floats) -> Interval:
    low = np.quantile(lower, TAIL, method="inverted_cdf")
    high = np.quantile(upper, 1 - TAIL, method="inverted_cdf")
    # Sums round differently on other processors; metrics should not.
    return float(low.round(intervals.DIGITS)), float(high.round(intervals.DIGITS))
