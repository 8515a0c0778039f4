"""A board as its charts see it: names, looks and numbers of its rows."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from harness.base.errors import HarnessError
from harness.evaluation.records import keys
from harness.evaluation.records.record import RunRecord
from harness.report import names
from harness.report.colours import NEUTRAL, SHAPES, Style, styles
from harness.report.page.parts import slug
from harness.report.page.svg.axes import legend
from harness.report.ranks.board_ranks import Ranks
from harness.types import Metric

MOST_POINTS = 100
"""Points of a curve; finer ones are binned."""

MOST_PANELS = 6
"""Panels beside one another in a chart, a method each; further methods are named in the caption."""

INTERVALS = "Intervals are at 95 %, over test images."


@dataclass(frozen=True)
class Board:
    """The records of a board in their order, with their ranks.

    looks: by a classifier's full name, its colour and dash in the whole page.
    """

    entries: Sequence[RunRecord]
    ranks: Ranks
    looks: Mapping[str, Style]

    @cached_property
    def models(self) -> list[str]:
        """The classifier of each row, as tables name it."""
        return names.model_names(self.entries)

    @cached_property
    def methods(self) -> list[str]:
        """The method of each row, as tables name it."""
        return names.variants(self.entries)

    @cached_property
    def labels(self) -> list[str]:
        """The name of each row."""
        several = len(set(self.methods)) > 1
        return [f"{m}, {t}" if several else m for m, t in zip(self.models, self.methods, strict=True)]

    @cached_property
    def by_method(self) -> dict[str, list[int]]:
        """The rows of each method, by classifier; "default" first."""
        found = sorted(set(self.methods), key=lambda name: (name != "default", name))
        rows = {name: [k for k, method in enumerate(self.methods) if method == name] for name in found}
        return {name: sorted(places, key=lambda k: self.models[k]) for name, places in rows.items()}

    def look(self, row: int) -> Style:
        """The colour of a row's classifier, and the shape of its method."""
        own = self.looks[self.entries[row].model.name]
        return Style(own.colour, own.dash, list(self.by_method).index(self.methods[row]) % len(SHAPES))

    def line(self, row: int) -> Style:
        """The colour and dash of a row's classifier, for charts with a panel per method."""
        return self.looks[self.entries[row].model.name]

    def id(self, kind: str) -> str:
        """An id that no other board has: of the suite's name, the board and the kind of chart."""
        short = hashlib.sha256("\0".join(self.entries[0].board).encode("utf-8", "surrogatepass")).hexdigest()[:6]
        return slug(keys.benchmark(self.entries[0].suite)[:40], short, kind)

    def legend(self, rows: Sequence[int], *, lines: bool = True) -> Any:
        """The classifiers of some rows."""
        return legend(sorted({self.models[k]: self.line(k) for k in rows}.items()), lines=lines)

    def method_legend(self) -> Any:
        """The methods' shapes; empty for one method."""
        shapes = [(name, Style(NEUTRAL, 0, k % len(SHAPES))) for k, name in enumerate(self.by_method)]
        return legend(shapes, lines=False) if len(shapes) > 1 else ""

    def rows_of(self, row: int, *needed: str) -> Mapping[str, Any]:
        """A row's sample table; HarnessError, naming the row alone, where it cannot be read."""
        try:
            return self.entries[row].rows(*needed)
        except (HarnessError, ValueError) as reason:  # ValueError: a record changed in memory
            raise HarnessError(f"the sample table of {self.labels[row]} cannot be read") from reason


def board_of(entries: Sequence[RunRecord], ranks: Ranks, looks: Mapping[str, Style] | None = None) -> Board:
    """A board with its looks; without some, by the classifiers of this board alone."""
    looks = dict(looks or {})
    missing = {entry.model.name for entry in entries} - looks.keys()
    return Board(entries, ranks, {**styles(missing), **looks})


def factor(metric: Metric | None) -> float:
    """100 for fractions, which charts show in percent; 1 for other units."""
    return 100.0 if metric is not None and metric.unit in ("fraction", "ratio") else 1.0


def scaled(metric: Metric | None) -> tuple[float, float, float] | None:
    """Value, low and high as a chart shows them; None where one is missing or not finite."""
    if metric is None:
        return None
    values = [factor(metric) * v for v in (metric.value, *metric.interval)]
    return (values[0], values[1], values[2]) if all(map(math.isfinite, values)) else None


def digits(value: float) -> str:
    """A number of a chart's data, with at most four significant digits after the point's first."""
    return f"{value:.5g}" if math.isfinite(value) else ""


def headed(words: str) -> str:
    """A title: the words with a capital letter."""
    return words[:1].upper() + words[1:]


def thinned(count: int, most: int = MOST_POINTS) -> list[int]:
    """At most `most` places of `count`, evenly, the first and the last among them."""
    if count <= most:
        return list(range(count))
    return sorted({round(k * (count - 1) / (most - 1)) for k in range(most)})
