"""Metrics of attacked images, as functions of a sample table.

An image that falls at a smaller eps has fallen at every larger one, whose ball holds the same adversarial image: robust
accuracy never rises with eps, however much luck the attacks at either had.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from harness.evaluation.attacked.allowed import slack
from harness.evaluation.attacked.judging import JUDGES
from harness.metrics import intervals
from harness.metrics.accuracy import accuracy, mean_accuracy
from harness.metrics.intervals import Undefined
from harness.suites.bases.adversarial.progress import NOWHERE, ROBUST, WRONG
from harness.types import Metric, ThreatModel

CLEAN = "clean"
"""Condition of the accuracy without an attack."""

Threats = Mapping[str, ThreatModel]
"""Threat models by the name of their condition, eps rising."""


class Level:
    """The rows of one condition, with what smaller eps add to them.

    images: (n,) ids. shares: (n, M + 1) in [0, 1], right answers as a share of draws, for the clean image and after
        each of M attacks at this or a smaller eps: an image that attack k has changed at a smaller eps has fallen to
        it here. Of a stochastic classifier an image takes all its attacks from one eps, the one that left the fewest
        right draws among those that choose. distance: (n,), the smallest norm known, infinite where none is.
    """

    def __init__(self, rows: Mapping[str, Any], conditions: Sequence[str], stochastic: bool) -> None:
        """conditions: names with eps rising; the last one is the level's own."""
        cells = [np.flatnonzero(rows["condition"] == name) for name in conditions]
        own = cells[-1]
        self.images = rows["id"][own]
        self.stochastic = stochastic
        self.shares = _shares(rows, own, stochastic)
        self.distance = _known(rows["distance"][own])
        strength = rows["chosen"][own].astype(float) if stochastic else None
        place = {name: k for k, name in enumerate(self.images)}
        for smaller in cells[:-1]:
            there = smaller[np.isin(rows["id"][smaller], self.images)]
            here = np.array([place[name] for name in rows["id"][there]], dtype=np.int64)
            other = _shares(rows, there, stochastic)
            if strength is None:
                self.shares[here] = np.minimum(self.shares[here], other)
            else:
                chosen = rows["chosen"][there].astype(float)
                fewer = chosen < strength[here]
                self.shares[here[fewer]], strength[here[fewer]] = other[fewer], chosen[fewer]
            self.distance[here] = np.minimum(self.distance[here], _known(rows["distance"][there]))

    @property
    def final(self) -> Any:
        """Shares (n,) after all attacks under this and all smaller eps."""
        return self.shares[:, -1]


def levels(rows: Mapping[str, Any], conditions: Sequence[str]) -> Iterator[tuple[str, Level]]:
    """The level of each condition that has rows."""
    stochastic = "right" in rows
    for place, name in enumerate(conditions):
        if (rows["condition"] == name).any():
            yield name, Level(rows, conditions[: place + 1], stochastic)


def metrics(rows: Mapping[str, Any], threats: Threats) -> tuple[list[Metric], list[str]]:
    """Clean and robust accuracy, that after each of several attacks, and the median of the smallest perturbations.

    Of a stochastic classifier robust accuracy is the mean over unseen draws, beside the share of images that most draws
    answer rightly, and that all do.
    """
    results: list[Metric] = []
    notes: list[str] = []
    for name, level in levels(rows, list(threats)):
        if not results:
            results.append(_mean(level, level.shares[:, 0], CLEAN, "accuracy"))
        results.append(_mean(level, level.final, name, "robust_accuracy"))
        if level.stochastic:
            results.append(accuracy(level.final > 0.5, name, "robust_majority"))
            results.append(accuracy(level.final == 1, name, "robust_worst"))
        if level.shares.shape[1] > 2:
            for number, share in enumerate(level.shares[:, 1:].T, 1):
                results.append(_mean(level, share, f"{name}, attack {number}", "robust_after"))
        try:
            results.append(_median(level, name, threats[name].norm))
        except Undefined as reason:
            notes.append(f"{name}: the median of the smallest perturbations is left out. {reason}")
    return results, notes


def _mean(level: Level, shares: Any, condition: str, name: str) -> Metric:
    if level.stochastic:
        return mean_accuracy(shares[:, None], name, condition)
    return accuracy(shares == 1, condition, name)


def _median(level: Level, condition: str, norm: str) -> Metric:
    value, interval = intervals.of_median(level.distance)
    return Metric("median_perturbation", condition, value, interval, len(level.distance), norm, True)


def _shares(rows: Mapping[str, Any], cells: Any, stochastic: bool) -> Any:
    """Right answers (n, M + 1) of some rows, as shares."""
    if stochastic:
        return rows["right"][cells].astype(float) / JUDGES
    fallen = rows["fallen"][cells].astype(int)
    number = np.arange(int(rows["attacks"].max()))
    survived = (fallen[:, None] == ROBUST) | (fallen[:, None] > number)
    return np.column_stack([fallen != WRONG, survived]).astype(float)


def _known(distance: Any) -> Any:
    return np.where(distance == NOWHERE, np.inf, distance.astype(float))


def faults(rows: Mapping[str, Any], threats: Threats) -> Iterator[str]:
    """Sentences on columns that contradict each other, as no run writes them."""
    fallen, distance = rows["fallen"].astype(int), rows["distance"].astype(float)
    adversarial, label = rows["adversarial"], rows["label"]
    eps = np.zeros(len(fallen))
    for name, threat in threats.items():
        eps[rows["condition"] == name] = threat.eps + slack(threat)
    fell = fallen >= 0
    checks = {
        "have fallen to an attack that the row does not have": fallen >= rows["attacks"],
        "have fallen beyond eps, or to no perturbation": fell & ~((distance > 0) & (distance <= eps)),
        "are errors on the clean image and have a distance other than 0": (fallen == WRONG) & (distance != 0),
        "have a distance that is none": (distance < 0) & (distance != NOWHERE),
        "have a loss below 0": rows["loss"] < 0,
    }
    if "right" in rows:
        checks["have more right draws than there are"] = (rows["right"] > JUDGES).any(1) | (rows["chosen"] > JUDGES)
    else:
        checks |= {
            "are called clean errors against their prediction": (fallen == WRONG) != (rows["prediction"] != label),
            "have fallen, and their adversarial image is classified rightly": fell & (adversarial == label),
            "are called robust, and their adversarial image is not classified rightly": (fallen == ROBUST)
            & (adversarial != label),
            "are called robust, and a perturbation within eps is known": (fallen == ROBUST)
            & (distance != NOWHERE)
            & (distance <= eps - 2 * (eps > 0) * 1e-4 * eps),
        }
    for words, wrong in checks.items():
        if wrong.any():
            yield f"{int(wrong.sum())} rows {words}"
