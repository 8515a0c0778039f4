"""From records to the points of curves, the rows of a figure's CSV and the facts in its caption."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from harness.base.errors import HarnessError
from harness.evaluation.records.record import RunRecord
from harness.report.figures.panels import Point
from harness.report.names import title, variants

METRIC = ("value", "low", "high", "n")
"""Columns of a CSV: a metric, the ends of its 95 % interval, and the number of images."""

Row = tuple[str, str]
"""Classifier and method."""

Measured = tuple[float, float, float, float, int]
"""x, then `METRIC`."""


def by_row(entries: Sequence[RunRecord]) -> dict[Row, RunRecord]:
    """Records by classifier and method."""
    methods = variants(entries)
    return {(entry.model.name, method): entry for entry, method in zip(entries, methods, strict=True)}


def by_number(entries: Sequence[RunRecord], metric: str, pattern: str) -> dict[Row, list[Measured]]:
    """By classifier and method a metric's values by the number in its condition, rising.

    pattern: of the condition, with one group: ``t=(\\d+)``. Raises HarnessError for records without such a metric.
    """
    lines: dict[Row, list[Measured]] = {}
    for row, entry in by_row(entries).items():
        matches = [(re.fullmatch(pattern, m.condition), m) for m in entry.metrics if m.name == metric]
        points = [(_number(match[1]), m.value, *m.interval, m.n) for match, m in matches if match]
        if not points:
            raise HarnessError(f"{entry.path}: no {metric} by {pattern!r}. Take records of another suite.")
        lines[row] = sorted(points)
    return lines


def _number(text: str) -> float:
    return int(text) if text.isdecimal() else float(text)


def by_time(entries: Sequence[RunRecord], metric: str) -> dict[Row, list[Measured]]:
    """By classifier and method a metric's values by diffusion time; see `by_number`."""
    return by_number(entries, metric, r"t=(\d+)")


def rows_of(lines: Mapping[Any, Sequence[Measured]]) -> list[tuple[Any, ...]]:
    """Rows of a CSV: the key of each line, x, and `METRIC`."""
    return [(*key, *point) for key, points in lines.items() for point in points]


def percent(lines: Mapping[Any, Sequence[Measured]]) -> dict[Any, list[Point]]:
    """Points of curves in percent, of fractions."""
    return {key: [(x, 100 * y, 100 * low, 100 * high) for x, y, low, high, _ in each] for key, each in lines.items()}


def plain(lines: Mapping[Any, Sequence[Measured]]) -> dict[Any, list[Point]]:
    """Points of curves in their unit."""
    return {key: [point[:4] for point in points] for key, points in lines.items()}


def described(text: str, entries: Sequence[RunRecord]) -> str:
    """A caption: what is shown, of which images, the intervals, and every record by its key."""
    rows = [
        f"{entry.model.name} {method} {entry.key}" for entry, method in zip(entries, variants(entries), strict=True)
    ]
    denoisers = dict.fromkeys(f"{e.denoiser.name} ({e.denoiser.sha256[:12]})" for e in entries if e.denoiser)
    model = f" Diffusion model {', '.join(denoisers)}." if denoisers else ""
    return (
        f"{text} {title(entries[0])}, seed {entries[0].spec.seed}.{model} Bands: 95 % intervals over test images. "
        f"Records: {'; '.join(rows)}."
    )
