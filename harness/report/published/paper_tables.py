"""Tables printed in papers: read from RESULTS/published/*.json and shown beside the leaderboards, labelled as such."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import harness
from harness.base.errors import HarnessError
from harness.base.files import read_limited
from harness.base.parsing import parse_json
from harness.base.validation import Reader
from harness.report.boards import LeaveOut, raise_error
from harness.report.published.mapping import Grid
from harness.report.table import Table

FOLDER = "published"
"""Name of the folder with paper tables."""

PACKAGE = Path(harness.__file__).parent
SHIPPED = (PACKAGE / FOLDER, PACKAGE.parent / "results" / FOLDER)
"""Folders with the project's paper tables: of an installed package, and of a clone."""

LARGEST = 2**24
"""Bytes that a file of paper tables may have, as for a record."""


@dataclass(frozen=True)
class PaperTable:
    """A table that a paper printed.

    of: kind of the rows, such as "model". rows: by name, a number per column.
    name: what `harness reproduce` calls it. table: the paper's table that it is, or is a part of.
    measured_by: how its numbers are measured; None where they cannot be, for the reason `not_measured`.
    digits: the same shape on the project's own data; None if there is none.
    """

    of: str
    columns: Sequence[str]
    rows: Mapping[str, Sequence[float]]
    note: str = ""
    name: str = ""
    table: str = ""
    measured_by: Grid | None = None
    digits: Grid | None = None
    not_measured: str = ""

    def __post_init__(self) -> None:
        if any(len(cells) != len(self.columns) for cells in self.rows.values()):
            raise HarnessError(f"a row has not {len(self.columns)} numbers, as there are columns")
        for grid in filter(None, (self.measured_by, self.digits)):
            grid.check(list(self.rows), self.columns)


@dataclass(frozen=True)
class Paper:
    """A file of paper tables, as far as it is shown.

    short: the paper's short reference. tables: by title. not_at_hand: tables of the paper whose numbers are not here.
    """

    short: str
    tables: Mapping[str, PaperTable]
    not_at_hand: Sequence[str] = ()


def papers(root: Path, leave_out: LeaveOut = raise_error) -> list[Paper]:
    """The papers with tables in a results folder, or where it has none those that the project ships.

    leave_out: called for each file that cannot be read.
    """
    read = []
    files = sorted((root / FOLDER).glob("*.json")) or sorted(file for place in SHIPPED for file in place.glob("*.json"))
    for file in files:
        try:
            read.append(_read(file))
        except HarnessError as reason:
            leave_out(reason)
    return read


def paper_tables(root: Path, leave_out: LeaveOut = raise_error) -> list[Table]:
    """The tables of `papers`, to show beside leaderboards."""
    tables = []
    for paper in papers(root, leave_out):
        for name, table in paper.tables.items():
            rows = [[key, *(f"{v:.2f}" for v in cells)] for key, cells in table.rows.items()]
            title = f"{name} (published: {paper.short}; not measured here)"
            tables.append(Table(title, [table.of, *table.columns], rows, table.note))
    return tables


def _read(file: Path) -> Paper:
    try:
        paper: Paper = Reader({}, strict=False)(Paper, parse_json(read_limited(file, LARGEST)))
    except OSError as error:
        raise HarnessError(f"{file}: {error.strerror}.") from error
    except ValueError as error:
        raise HarnessError(f"{file} holds no published tables ({error}). Restore it, or delete it.") from error
    return paper
