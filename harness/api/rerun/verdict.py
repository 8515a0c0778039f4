"""The result of a repetition, and comparisons of numbers that lead to it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from harness.evaluation.records.rows import Rows
from harness.types import Metric

ROUNDING = 1e-4
"""Largest difference that counts as rounding, relative for numbers above 1."""

IDENTICAL, ROUNDED, QUALITY, DIFFERS = "identical", "agrees to rounding", "agrees in quality", "differs"


@dataclass(frozen=True)
class Verdict:
    """The outcome in a word, and sentences on its reasons.

    environment: versions and hardware that differ, in words.
    """

    outcome: str
    reasons: Sequence[str]
    environment: Sequence[str] = ()

    @property
    def agrees(self) -> bool:
        """True where the numbers are those of the record or card."""
        return self.outcome != DIFFERS


@dataclass
class Differences:
    """Differences so far.

    compared: a sentence on what is compared. differences: in words. largest, place: of the differences that count as
    rounding, the largest and where it is.
    """

    compared: str
    differences: list[str]
    largest: float = 0.0
    place: str = ""

    def number(self, place: str, then: float, now: float) -> None:
        """Compare a number of the record with the repeated one."""
        self.numbers(place, np.array([then]), np.array([now]))

    def numbers(self, place: str, then: np.ndarray, now: np.ndarray) -> None:
        """Compare numbers of the record with the repeated ones, of the same shape; NaN equals NaN."""
        same = (then == now) | (np.isnan(then) & np.isnan(now))
        with np.errstate(invalid="ignore"):
            gap = np.where(same, 0.0, np.abs(then - now) / np.maximum(1.0, np.abs(then)))
        worst = float(np.nan_to_num(gap, nan=np.inf).max(initial=0.0))
        if worst > ROUNDING:
            self.differences.append(f"{place} by {worst:.2g}")
        elif worst > self.largest:
            self.largest, self.place = worst, place

    def verdict(self, environment: Sequence[str]) -> Verdict:
        """The verdict on everything that was compared."""
        if self.differences:
            return Verdict(DIFFERS, [self.compared, *(f"Differs: {text}." for text in self.differences)], environment)
        if self.largest:
            detail = f"Largest difference: {self.largest:.2g}, in {self.place}."
            return Verdict(ROUNDED, [self.compared, detail], environment)
        return Verdict(IDENTICAL, [self.compared], environment)


def compare_rows(findings: Differences, then: Rows, now: Rows) -> None:
    """Compare the rows of a repetition with those of the record, by id and condition."""
    places = {key: place for place, key in enumerate(_keys(then))}
    keys = list(_keys(now))
    unknown = [key for key in keys if key not in places]
    if unknown:
        findings.differences.append(f"{len(unknown)} of {len(keys)} rows are not in the record, such as {unknown[0]}")
        return
    order = np.array([places[key] for key in keys])
    if lacking := sorted(then.keys() - now.keys()):
        findings.differences.append(f"the columns, which lack {', '.join(lacking)}")
    if new := sorted(now.keys() - then.keys()):
        findings.compared += f" Not in the record, and not compared: {', '.join(new)}."
    for name in sorted(then.keys() & now.keys()):
        old, new = then[name][order], now[name]
        if old.dtype.kind == "f" and new.dtype.kind == "f" and old.shape == new.shape:
            findings.numbers(f"the column {name!r}", old, new)
            continue
        unequal = _unequal(old, new)
        if unequal.any():
            first = keys[int(np.argmax(unequal))]
            findings.differences.append(f"{name!r} in {unequal.sum()} of {len(keys)} rows, such as {first}")


def compare_metrics(findings: Differences, then: Sequence[Metric], now: Sequence[Metric]) -> None:
    """Compare values, intervals and numbers of images of all metrics, by name and condition."""
    before, after = ({(metric.name, metric.condition): metric for metric in metrics} for metrics in (then, now))
    for key in dict.fromkeys([*before, *after]):
        place = f"{key[0]} of {key[1]}"
        if key not in after:
            findings.differences.append(f"{place} is no longer measured")
        elif key not in before:
            findings.differences.append(f"{place} was not measured then")
        else:
            old, new = before[key], after[key]
            findings.number(place, old.value, new.value)
            findings.numbers(f"the interval of {place}", np.array(old.interval), np.array(new.interval))
            if old.n != new.n:
                findings.differences.append(f"the number of images of {place}, {old.n} then, {new.n} now")


def changed(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Facts about the machine and its software that differ, in words."""
    names = [name for name in then if name in now and then[name] != now[name]]
    return [f"{name} was {then[name]}, is {now[name]}" for name in names]


def _keys(rows: Rows) -> Iterator[str]:
    for name, condition in zip(rows["id"], rows["condition"], strict=True):
        yield f"{name} under {condition}"


def _unequal(old: np.ndarray, new: np.ndarray) -> np.ndarray:
    """For each row, true where any of its values differs."""
    if old.shape != new.shape:
        return np.ones(len(new), dtype=bool)
    return np.asarray((old != new).reshape(len(new), -1).any(1))
