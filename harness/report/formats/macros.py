"""A macro per number, for the running text of a paper: ``\\input`` the file, and numbers there follow the records."""

from __future__ import annotations

from collections.abc import Sequence

from harness.evaluation.records import keys
from harness.evaluation.records.record import RunRecord
from harness.report.formats.tex import comment, name
from harness.report.formats.view import View
from harness.report.names import spell, title
from harness.report.ranks.board_ranks import board_ranks
from harness.types import Metric

ENDS = ("", "Low", "High", "Rank")
"""Ends of the names: of the value, both ends of its interval, and the rank set of the row."""

HEAD = """% Numbers of `harness leaderboard`, rounded as in its tables, fractions in percent. Use: \\input{FILE}
% A line with suite, model, method, metric, condition and the unrounded number is above each group of macros."""


def text(views: Sequence[View]) -> str:
    """``\\newcommand``s: value, and with Low and High the ends of its interval; with Rank the rank set.

    A name is harness and the words of suite, model, method, metric and condition, digits spelled; where two numbers
    would have one name, the later one ends in its record's key, spelled in the letters a to p.
    """
    lines = [HEAD]
    used: set[str] = set()
    for view in views:
        ranks = board_ranks(view.board)
        for place in view.places:
            entry = view.board[place]
            for column in view.shown():
                if metric := entry.metric(*column):
                    ranking = column == tuple(ranks.column)
                    lines += _group(entry, metric, ranks.spell(place) if ranking else "", used)
    return "\n".join(lines) + "\n"


def _group(entry: RunRecord, metric: Metric, rank: str, used: set[str]) -> list[str]:
    """The macros of one metric, after their comment. used: names that are taken; theirs are added."""
    low, high = metric.interval
    facts = [title(entry), entry.model.name, entry.variant, metric.name, metric.condition]
    exact = f"{metric.value!r} [{low!r}, {high!r}] {metric.unit}, n = {metric.n}, record {entry.key}"
    macro = "harness" + name(keys.benchmark(entry.suite), entry.model.name, entry.variant, *_words(metric))
    if _taken(macro, used):
        macro += "".join(chr(ord("a") + int(digit, 16)) for digit in entry.key).title()
    while _taken(macro, used):
        macro += "x"
    used |= {macro + end for end in ENDS}
    value, *ends = spell(metric).translate({ord(sign): None for sign in "[],"}).split()
    numbers = [value, *ends, *([rank.replace("-", "--")] if rank else [])]
    macros = [f"\\newcommand{{\\{macro}{end}}}{{{number}}}" for end, number in zip(ENDS, numbers, strict=False)]
    return [comment("; ".join([*facts, exact])), *macros]


def _words(metric: Metric) -> list[str]:
    return [metric.name.replace("_", " "), *([metric.condition] if metric.condition != "mean" else [])]


def _taken(macro: str, used: set[str]) -> bool:
    return any(macro + end in used for end in ENDS)
