"""Filters of a board's rows and columns, as texts of the command line; a filter never changes a rank set."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from harness.base.errors import HarnessError, suggest
from harness.evaluation.records.record import RunRecord
from harness.plugins.settings import bare
from harness.report.names import plain

CALLS = "denoiser_calls"
"""Name of the column with the cost, among the metrics of `--columns`."""

RELATIONS = {
    ">": lambda value, limit: value > limit,
    ">=": lambda value, limit: value >= limit,
    "<": lambda value, limit: value < limit,
    "<=": lambda value, limit: value <= limit,
}

CONDITION = re.compile(r"(?P<column>.+?)\s*(?P<relation>>=|<=|>|<)\s*(?P<limit>[^<>%]+?)\s*(?P<percent>%?)\s*")
"""A condition on a metric. Names of conditions hold equals signs, so that no relation is one."""


@dataclass(frozen=True)
class RowFilter:
    """Rows to show.

    models, methods: shell patterns such as ``digits/vit*``, matched with names with and without their settings; none
        for all.
    where: conditions such as ``mean_accuracy>0.8`` or ``accuracy@fog/5>80%``, which must all hold. Without ``@`` the
        board's columns of that metric count; several conditions, or a pattern of some, must all hold, too.
    """

    models: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()
    where: tuple[str, ...] = ()

    def places(self, board: Sequence[RunRecord]) -> list[int]:
        """Places in the board of the rows to show, in its order; HarnessError for a condition that cannot be read."""
        limits = [(limit, columns(board, [limit.column])) for limit in map(_limit, self.where)]
        return [
            place
            for place, entry in enumerate(board)
            if _matches(entry.model.name, self.models)
            and _matches(entry.method, self.methods)
            and all(limit.holds(entry, shown) for limit, shown in limits)
        ]

    def check(self, records: Sequence[RunRecord]) -> None:
        """Raise HarnessError, with near matches, where a pattern or a metric fits none of all records."""
        for kind, patterns, names in (
            ("model", self.models, {entry.model.name for entry in records}),
            ("method", self.methods, {entry.method for entry in records}),
        ):
            for pattern in patterns:
                if not any(_matches(name, [pattern]) for name in names):
                    raise suggest(kind, pattern, sorted(names))
        check_columns(records, [_limit(text).column for text in self.where])


@dataclass(frozen=True)
class _Limit:
    """A condition on metrics. text: as it was written. limit: in the metric's unit, or percent of it."""

    text: str
    column: str
    relation: str
    limit: float
    percent: bool

    def holds(self, entry: RunRecord, shown: Sequence[tuple[str, str]]) -> bool:
        """True if a record has one of these metrics at least, and each that it has meets the condition."""
        metrics = [metric for column in shown if (metric := entry.metric(*column))]
        for metric in metrics:
            if metric.unit == "fraction" and not self.percent and not 0 <= self.limit <= 1:
                raise HarnessError(
                    f"--where {self.text!r}: {metric.name} is a fraction between 0 and 1. Write "
                    f"{self.column}{self.relation}{self.limit / 100:g} or {self.column}{self.relation}{self.limit:g}%"
                )
        limit = self.limit / 100 if self.percent else self.limit
        return bool(metrics) and all(RELATIONS[self.relation](metric.value, limit) for metric in metrics)


def _limit(text: str) -> _Limit:
    match = CONDITION.fullmatch(text)
    try:
        limit = float(match["limit"]) if match else float("nan")
    except ValueError:
        limit = float("nan")
    if match is None or limit != limit:
        raise HarnessError(
            f"--where {text!r} must be METRIC>NUMBER or METRIC@CONDITION>NUMBER, with >, >=, < or <=, such as "
            "'mean_accuracy>0.8' or 'accuracy@fog/5>=80%'."
        )
    return _Limit(text, match["column"].strip(), match["relation"], limit, bool(match["percent"]))


def columns(board: Sequence[RunRecord], patterns: Sequence[str]) -> list[tuple[str, str]]:
    """The (metric, condition) pairs of a board that patterns mean, in the patterns' order.

    patterns: ``METRIC`` for the board's columns of that name, or for all of its conditions where there are none;
        ``METRIC@CONDITION`` for that one. Both parts may be shell patterns; a metric may be written with blanks.
    """
    pairs = list(dict.fromkeys((metric.name, metric.condition) for entry in board for metric in entry.metrics))
    chosen: dict[tuple[str, str], None] = {}
    for pattern in patterns:
        name, at, condition = pattern.partition("@")
        named = [pair for pair in pairs if _fits(pair[0], name.strip().replace(" ", "_"))]
        if at:
            chosen |= dict.fromkeys(pair for pair in named if _fits(pair[1], condition.strip()))
        else:
            chosen |= dict.fromkeys([pair for pair in board[0].columns if pair in named] or named)
    return list(chosen)


def check_columns(records: Sequence[RunRecord], patterns: Iterable[str]) -> None:
    """Raise HarnessError, with near matches, for a pattern that fits no metric, or no condition, of any record."""
    pairs = {(metric.name, metric.condition) for entry in records for metric in entry.metrics}
    for pattern in patterns:
        name, at, condition = pattern.partition("@")
        named = [pair for pair in pairs if _fits(pair[0], name.strip().replace(" ", "_"))]
        if not named and pattern != CALLS:
            raise suggest("metric", name, sorted({name for name, _ in pairs}))
        if at and not any(_fits(pair[1], condition.strip()) for pair in named):
            raise suggest("condition", condition, sorted({condition for _, condition in named}), f" of {name}")


def _fits(name: str, pattern: str) -> bool:
    return name == pattern or fnmatchcase(name, pattern)


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return not patterns or any(_fits(text, pattern) for pattern in patterns for text in (name, bare(name), plain(name)))
