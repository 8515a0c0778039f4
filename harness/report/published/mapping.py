"""Where the numbers of a paper's table are measured: by row and column the suite, classifier, method and metric."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

from harness.base.errors import HarnessError

OPTIONS = {"method": "--tta", "smoother": "--smooth", "detector": "--detector"}
"""By kind of the suite's methods, the option of ``harness run`` that names one."""


@dataclass(frozen=True)
class Measurement:
    """What a number of a table is measured by. A row, a column and the table state parts of it.

    suite, version: benchmark, with settings but without folders, and its version.
    metric, condition: of the record. axis: kind of the method.
    model: classifier's name, or ``runs/RECIPE`` where only training gives it. recipe: of `harness train`.
    method: test-time method, smoother or detector, with its settings.
    denoiser: name of the diffusion model's weights, for methods that use one.
    every: the protocol takes every k-th image. images: in all, of a suite whose plugin does not know the number.
    """

    suite: str = ""
    version: int = 0
    metric: str = ""
    condition: str = ""
    model: str = ""
    recipe: str = ""
    method: str = ""
    axis: str = ""
    denoiser: str = ""
    every: int = 0
    images: int = 0

    def over(self, other: Measurement) -> Measurement:
        """The part, with every field that another one states."""
        return Measurement(**{f.name: getattr(other, f.name) or getattr(self, f.name) for f in fields(self)})

    @property
    def lacking(self) -> list[str]:
        """The fields without which nothing can be measured, where they are empty."""
        needed = ("suite", "version", "metric", "condition", "model", "method")
        return [name for name in needed if not getattr(self, name)]


@dataclass(frozen=True)
class Grid:
    """The cells of a table: what all of them share, and what each row and each column states.

    note: sentences on readings and protocol.
    """

    cell: Measurement
    rows: Mapping[str, Measurement]
    columns: Mapping[str, Measurement]
    note: str = ""

    def __post_init__(self) -> None:
        for row in self.rows:
            for column in self.columns:
                cell = self.at(row, column)
                if cell.lacking:
                    raise HarnessError(f"the cell {row!r}, {column!r} states no {', '.join(cell.lacking)}")
                if cell.axis not in OPTIONS:
                    raise HarnessError(f"axis {cell.axis!r} must be one of {', '.join(OPTIONS)}")

    def at(self, row: str, column: str) -> Measurement:
        """The cell of a row and a column."""
        whole = Measurement(axis="method", every=1).over(self.cell)
        return whole.over(self.rows[row]).over(self.columns[column])

    def check(self, rows: Sequence[str], columns: Sequence[str]) -> None:
        """Raise HarnessError where this is not the grid of a table with these rows and columns."""
        for kind, mine, printed in (("rows", self.rows, rows), ("columns", self.columns, columns)):
            if list(mine) != list(printed):
                raise HarnessError(f"the {kind} that are measured, {', '.join(mine)}, are not those of the table")
