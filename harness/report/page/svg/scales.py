"""Scales: from values to places on the page, with ticks at round numbers."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

Kind = Literal["linear", "log", "logit"]

ROUND = (1.0, 2.0, 5.0, 10.0)
"""Steps between ticks, times a power of ten."""

SHARES = (0.1, 1, 2, 5, 10, 20, 30, 50, 70, 80, 90, 95, 98, 99, 99.9)
"""Ticks of a logit scale in percent."""

EDGE = 0.1
"""Percent from 0 and from 100 to which a logit scale moves what lies closer: a logit of 0 or 100 % is infinite."""


@dataclass(frozen=True)
class Scale:
    """A map of values to pixels.

    low, high: values at the ends. start, end: pixels there; start is greater than end for an axis upwards.
    kind: "linear"; "log", the logarithm of 1 + value, so that a cost of 0 has a place; "logit", of percent.
    """

    low: float
    high: float
    start: float = 0.0
    end: float = 1.0
    kind: Kind = "linear"

    def __call__(self, value: float) -> float:
        """The pixel of a value; a value outside of the ends lies at the nearer one."""
        low, high = self._warp(self.low), self._warp(self.high)
        share = (self._warp(value) - low) / (high - low)
        return self.start + (self.end - self.start) * min(max(share, 0.0), 1.0)

    def between(self, start: float, end: float) -> Scale:
        """The same scale between other pixels."""
        return replace(self, start=start, end=end)

    def ticks(self, most: int = 6) -> list[float]:
        """At most `most` round values within the ends."""
        if self.kind == "linear":
            return _round_values(self.low, self.high, most)
        if self.kind == "logit":
            every = [float(share) for share in SHARES if self.low <= share <= self.high]
            return _thinned(every, most) if len(every) > 2 else _round_values(self.low, self.high, most)
        powers = [m * 10.0**k for k in range(10) for m in (1, 2, 5)]
        for step in (1, 3):
            ticks = [v for v in [0.0, *powers[::step]] if self.low <= v <= self.high]
            if len(ticks) <= most:
                break
        return _thinned(ticks, most) if len(ticks) > 1 else _round_values(self.low, self.high, most)

    def _warp(self, value: float) -> float:
        if self.kind == "log":
            return math.log10(1 + max(value, 0.0))
        if self.kind == "logit":
            share = min(max(value, EDGE), 100 - EDGE)
            return math.log(share / (100 - share))
        return value


def fit(values: Iterable[float], kind: Kind = "linear", least: float | None = None, most: float | None = None) -> Scale:
    """A scale that holds all finite values, with room at both ends; equal values lie in its middle.

    least, most: limits that no value can pass, such as 0 and 100 for percent.
    """
    finite = [float(v) for v in values if math.isfinite(v)]
    low, high = (min(finite), max(finite)) if finite else (0.0, 1.0)
    room = 0.04 * (high - low) or 0.05 * abs(high) or 0.5
    low, high = low - room, high + room
    if kind == "log":
        return Scale(0.0, max(1.0, high * 1.3), kind=kind)
    if kind == "logit":
        low, high = max(low, EDGE), min(high, 100 - EDGE)
    low = low if least is None else max(low, least)
    high = high if most is None else min(high, most)
    return Scale(low, high, kind=kind) if low < high else Scale(low - 0.5, low + 0.5, kind=kind)


def tick_text(values: Sequence[float]) -> list[str]:
    """Ticks as texts of equally many decimals, no more than they need."""
    digits = next((d for d in range(7) if all(abs(v - round(v, d)) < 1e-9 * max(1.0, abs(v)) for v in values)), 7)
    return [f"{value + 0.0:,.{digits}f}".replace("-", "−") for value in (round(v, digits) + 0.0 for v in values)]


def _round_values(low: float, high: float, most: int) -> list[float]:
    power = 10.0 ** math.floor(math.log10((high - low) / max(most, 1)))
    for step in (power * factor for factor in (*ROUND, 20.0, 50.0, 100.0)):
        first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
        if last - first < most:
            break
    return [min(max(round(k * step, 12), low), high) for k in range(first, last + 1)]


def _thinned(ticks: Sequence[float], most: int) -> list[float]:
    """At most so many of the ticks, evenly, and always the last."""
    step = max(1, math.ceil(len(ticks) / most))
    return list(reversed(list(reversed(ticks))[::step]))
