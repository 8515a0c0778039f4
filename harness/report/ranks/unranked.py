"""Rows below a board of generated images that never rank: real test images, and an ideal generator.

A record says both in its notes, one sentence each by extractor, which this module writes and reads back. They depend on
the reference and the number of samples alone, so that all records of a board have the same.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harness.evaluation.records.record import RunRecord
from harness.report.names import spell
from harness.types import Metric

REAL, IDEAL = "real test images", "ideal"
"""Names of the rows."""

CENTRED = {"fd infinity": "0", "fid infinity": "0", "kid": "0"}
"""Metrics whose mean is 0 for samples of the reference's own distribution, whatever the features."""

BY = r"By (?P<extractor>.+), (?P<n>\d+) "
FLOOR = re.compile(BY + r"real test images beside the (?P<beside>[a-z ]+) have: (?P<values>.+)\.")
EXPECTED = re.compile(
    BY + r"samples of the (?P<beside>[a-z ]+)' own distribution are expected to have: (?P<values>.+)\."
)
VALUE = re.compile(r"(?P<name>[a-z ]+) (?P<value>-?[\d.]+%?(?: \[-?[\d.]+, -?[\d.]+\])?)")

LONGEST = 4_000
"""Characters of a note that is read: those of this module have a tenth of it."""


@dataclass(frozen=True)
class UnrankedRow:
    """One row. cells: text by full name of the metric. caption: sentence on it, for below the table."""

    name: str
    cells: Mapping[str, str]
    caption: str

    def cell(self, column: tuple[str, str]) -> str:
        """The text in a column of the board; "" where it has none."""
        return self.cells.get(column[0], "")


def floor_note(extractor: str, n: int, beside: str, metrics: Sequence[Metric]) -> str:
    """The sentence on n real test images. beside: the reference in words. metrics: theirs, by this extractor."""
    values = ", ".join(f"{_bare(m.name)} {spell(m)}" for m in metrics)
    return f"By {extractor}, {n} real test images beside the {beside} have: {values}."


def ideal_note(extractor: str, n: int, beside: str, values: Mapping[str, str]) -> str:
    """The sentence on n samples of the reference's own distribution. values: text by metric, as it is spelt."""
    listed = ", ".join(f"{name} {value}" for name, value in values.items())
    return f"By {extractor}, {n} samples of the {beside}' own distribution are expected to have: {listed}."


def unranked(board: Sequence[RunRecord]) -> tuple[list[UnrankedRow], set[str]]:
    """The rows that all records of a board have, and the notes which say the same."""
    shared = set.intersection(*(set(entry.notes) for entry in board))
    notes = sorted(note for note in shared if len(note) <= LONGEST)
    names = {metric.name for entry in board for metric in entry.metrics}
    rows, read = [], set()
    for pattern, name, sentence in (
        (FLOOR, REAL, "{n} real test images beside the {beside}"),
        (EXPECTED, IDEAL, "means of {n} samples of the {beside}' own distribution"),
    ):
        matches = [match for note in notes if (match := pattern.fullmatch(note))]
        cells = {column: text for match in matches for column, text in _cells(match, names, name).items()}
        if cells:
            words = sorted({sentence.format(**match.groupdict()) for match in matches})
            rows.append(UnrankedRow(name, cells, f"{name}: {' and '.join(words)}, not ranked."))
            read |= {match[0] for match in matches}
    return rows, read


def _cells(match: re.Match[str], names: set[str], row: str) -> dict[str, str]:
    """Texts by full name of the metric, as columns are called; {} for a sentence with anything else in it."""
    pieces = re.split(r", (?=[a-z])", match["values"])
    values = [value for piece in pieces if (value := VALUE.fullmatch(piece))]
    if len(values) < len(pieces):
        return {}
    texts = {
        **(CENTRED if row == IDEAL else {}),
        **{value["name"]: value["value"].removesuffix("%") for value in values},
    }
    # Those without an extractor in their names are of the published Inception network, whose notes alone have them.
    own = [name for name in names if name.endswith(f"[{match['extractor']}]") or "[" not in name]
    return {name: texts[_bare(name)] for name in own if _bare(name) in texts}


def _bare(name: str) -> str:
    """A metric's name without the extractor, in words."""
    return name.partition("[")[0].replace("_", " ")
