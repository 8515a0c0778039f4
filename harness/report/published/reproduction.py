"""A paper's table beside measured numbers. Pure: records in, tables out; a subset or another protocol fills no cell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from harness.base.errors import HarnessError, suggest
from harness.evaluation.records import keys
from harness.evaluation.records.record import RunRecord
from harness.evaluation.records.rules import covered
from harness.plugins.settings import bare
from harness.report.names import plain
from harness.report.published.mapping import Grid, Measurement
from harness.report.published.paper_tables import Paper, PaperTable
from harness.report.ranks.seeds import card_of
from harness.report.table import Table
from harness.train import recipes
from harness.types import Metric

DIGITS = "handwritten digits of this project, not the paper's data"
"""How grids on the embedded data are labelled."""


@dataclass(frozen=True)
class PublishedBlock:
    """A table of a paper, or a part of one. title: its heading. short: the paper's short reference."""

    title: str
    short: str
    paper: PaperTable

    @property
    def name(self) -> str:
        """What the command line calls it."""
        return self.paper.name or self.title


@dataclass(frozen=True)
class Filled:
    """A cell of a table. published: the paper's number, in percent; None on the project's own data.

    source, metric: the record that measured it; None without such a record.
    reasons: why records of this classifier and method on this suite do not count.
    """

    row: str
    column: str
    cell: Measurement
    published: float | None
    source: RunRecord | None = None
    metric: Metric | None = None
    reasons: Sequence[str] = ()

    @property
    def note(self) -> str:
        """A sentence on a retrained classifier whose training only the name of its folder states; "" for others."""
        if self.source is None or not _is_retrained(self.source, self.cell) or card_of(self.source):
            return ""
        return f"{self.source.key}: only the folder's name says that it was trained by {self.cell.recipe}"

    @property
    def difference(self) -> float | None:
        """Measured minus published, in points."""
        return None if self.metric is None or self.published is None else 100 * self.metric.value - self.published

    def spelled(self) -> str:
        """The published number, and after an arrow the measured one with the difference and its interval."""
        texts = [] if self.published is None else [f"{self.published:.2f}"]
        if self.metric:
            low, high = (100 * end for end in self.metric.interval)
            by = "" if self.difference is None else f" ({self.difference:+.2f})"
            texts.append(f"{100 * self.metric.value:.2f}{by} [{low:.2f}, {high:.2f}]")
        return " → ".join(texts)

    def numbers(self) -> dict[str, Any]:
        """The cell unrounded, with where it comes from."""
        low, high = self.metric.interval if self.metric else (None, None)
        value = self.metric.value if self.metric else None
        measured = {"measured": value, "low": low, "high": high}
        percent = {name: None if number is None else 100 * number for name, number in measured.items()}
        where = {
            name: getattr(self.cell, name) for name in ("suite", "version", "model", "method", "metric", "condition")
        }
        counted = {"n": self.metric.n if self.metric else None, "key": self.source.key if self.source else ""}
        difference = {"published": self.published, **percent, "difference": self.difference}
        return {
            "row": self.row,
            "column": self.column,
            **difference,
            **counted,
            **where,
            "reason": "; ".join(self.reasons),
            "note": self.note,
        }


def blocks(papers: Sequence[Paper]) -> list[PublishedBlock]:
    """Every table of some papers."""
    return [PublishedBlock(title, paper.short, table) for paper in papers for title, table in paper.tables.items()]


def select(name: str, papers: Sequence[Paper]) -> list[PublishedBlock]:
    """The blocks of a table of the paper, or the one of that name; HarnessError where there is none."""
    every = blocks(papers)
    chosen = [block for block in every if name in (block.paper.table, block.name, block.title)]
    if chosen:
        return chosen
    if any(name in paper.not_at_hand for paper in papers):
        raise HarnessError(
            f"The numbers of {name} are not at hand: no file in results/published has them. Add them there, with their "
            "source; harness reproduce --list names the tables that are there."
        )
    raise suggest("table", name, sorted({text for block in every for text in (block.paper.table, block.name) if text}))


def fill(grid: Grid, records: Sequence[RunRecord], paper: PaperTable | None = None) -> list[Filled]:
    """The cells of a grid, row by row, each with the record that measures it.

    paper: the table whose numbers stand beside; None on the project's own data.
    """
    filled = []
    for row in grid.rows:
        for place, column in enumerate(grid.columns):
            cell = grid.at(row, column)
            published = paper.rows[row][place] if paper else None
            filled.append(_filled(row, column, cell, published, records))
    return filled


def _filled(row: str, column: str, cell: Measurement, published: float | None, records: Sequence[RunRecord]) -> Filled:
    """A cell with the record that measures it: all in float32 if there is one, then the newest."""
    alike = [r for r in records if _is_about(r, cell)]
    found = {id(r): faults(r, cell) for r in alike}
    fitting = [r for r in alike if not found[id(r)]]
    if not fitting:
        reasons = dict.fromkeys(f"{r.key}: {', '.join(found[id(r)])}" for r in sorted(alike, key=lambda r: r.key))
        return Filled(row, column, cell, published, reasons=list(reasons))
    best = max(fitting, key=lambda r: (bare(r.model.name) == cell.model, r.variant == r.method, r.created, r.key))
    return Filled(row, column, cell, published, best, best.metric(cell.metric, cell.condition))


def _is_about(entry: RunRecord, cell: Measurement) -> bool:
    """True for records of the cell's suite under any settings, classifier and method."""
    if plain(entry.suite) != plain(cell.suite) or entry.method != cell.method:
        return False
    return bare(entry.model.name) == cell.model or _is_retrained(entry, cell)


def _is_retrained(entry: RunRecord, cell: Measurement) -> bool:
    """True for weights in a folder ``runs/RECIPE``, wherever that lies."""
    folder = PurePosixPath(bare(entry.model.name).replace("\\", "/").removesuffix("/model.safetensors"))
    return bool(cell.recipe) and folder.parts[-2:] == ("runs", cell.recipe)


def _other_training(entry: RunRecord, recipe: str) -> list[str]:
    """A reason where the card beside the weights states other settings than the recipe; [] without a card."""
    card = card_of(entry)
    if card is None:
        return []
    settings, stated = recipes.load(recipe).settings, card[1]["spec"]
    other = [f"{name}={stated.get(name)}" for name in settings if name != "init" and stated.get(name) != settings[name]]
    return [f"its card is of another training than {recipe}: {', '.join(other)[:120]}"] if other else []


def faults(entry: RunRecord, cell: Measurement) -> list[str]:
    """Reasons why a record does not measure a cell: another protocol or version, a subset, foreign code."""
    reasons = []
    if keys.benchmark(entry.suite) != cell.suite:
        reasons.append(f"it is of {keys.benchmark(entry.suite)}, not {cell.suite}")
    if entry.suite_version != cell.version:
        reasons.append(f"it is of version {entry.suite_version} of the suite, not {cell.version}")
    if not _is_whole(entry, cell.every):
        reasons.append(f"it covers {entry.coverage}" + (f", not every {cell.every}th" if cell.every > 1 else ""))
    if entry.denoiser and cell.denoiser and entry.denoiser.name != cell.denoiser:
        reasons.append(f"its diffusion model is {entry.denoiser.name}, not {cell.denoiser}")
    if entry.plugins:
        reasons.append(f"it was made with {', '.join(sorted(entry.plugins))} from outside of the package")
    if entry.doubts:
        reasons.append("it has no checksum")
    if _is_retrained(entry, cell):
        reasons += _other_training(entry, cell.recipe)
    if not reasons and entry.metric(cell.metric, cell.condition) is None:
        reasons.append(f"it has no {cell.metric} under {cell.condition}")
    return reasons


def _is_whole(entry: RunRecord, every: int) -> bool:
    """True where all images of the protocol are covered: every k-th one of the whole test set."""
    images, total, _ = covered(entry.coverage)
    if every == 1:
        return entry.status == "complete"
    return entry.spec.every == every and not entry.spec.limit and images == -(-total // every)


def table(block: PublishedBlock, records: Sequence[RunRecord]) -> Table:
    """The published table; beside each number the measured one with its difference and interval."""
    paper = block.paper
    if paper.measured_by is None:
        rows = [[name, *(f"{v:.2f}" for v in cells)] for name, cells in paper.rows.items()]
        reason = paper.not_measured or "How these numbers are measured is not stated."
        caption = " ".join(map(_sentence, filter(None, [paper.note, reason])))
        unmeasured = [
            Filled(row, column, Measurement(), value, reasons=[reason])
            for row, values in paper.rows.items()
            for column, value in zip(paper.columns, values, strict=True)
        ]
        data = _numbers(block, unmeasured)
        return Table(f"{block.title} (published: {block.short})", [paper.of, *paper.columns], rows, caption, data=data)
    cells = fill(paper.measured_by, records, paper)
    done = sum(cell.metric is not None for cell in cells)
    caption = (
        f"{done} of {len(cells)} numbers are measured. Published number → measured one, in brackets the difference in "
        "points (measured minus published), then the 95 % interval of the measured one; the published one is taken as "
        "exact."
    )
    notes = [caption, paper.note, paper.measured_by.note, *_left_out(cells)]
    title = f"{block.title} (published: {block.short} → measured here)"
    return _grid(block, title, [paper.of, *paper.columns], cells, notes, list(paper.rows))


def table_on_digits(block: PublishedBlock, records: Sequence[RunRecord]) -> Table | None:
    """The same shape on the project's own data, which no paper printed; None where there is no such grid."""
    grid = block.paper.digits
    if grid is None:
        return None
    cells = fill(grid, records)
    done = sum(cell.metric is not None for cell in cells)
    caption = f"{done} of {len(cells)} numbers are measured, with 95 % intervals; no number of a paper is among them."
    suites = ", ".join(dict.fromkeys(cell.cell.suite for cell in cells))
    title = f"{suites}: the shape of {block.title!r} on {DIGITS}"
    names = [grid.at(row, next(iter(grid.columns))).model for row in grid.rows]
    return _grid(block, title, [block.paper.of, *grid.columns], cells, [caption, grid.note, *_left_out(cells)], names)


def _grid(
    block: PublishedBlock,
    title: str,
    header: Sequence[str],
    cells: Sequence[Filled],
    notes: Sequence[str],
    names: Sequence[str],
) -> Table:
    """The table of cells that come row by row. names: of the rows."""
    width = len(header) - 1
    rows = [[name, *(c.spelled() for c in cells[k * width : (k + 1) * width])] for k, name in enumerate(names)]
    return Table(title, header, rows, " ".join(map(_sentence, filter(None, notes))), data=_numbers(block, cells))


def _numbers(block: PublishedBlock, cells: Sequence[Filled]) -> list[dict[str, Any]]:
    """The cells as rows for other programs, each with its table."""
    data = "the paper's" if cells[0].published is not None else "digits"
    return [{"table": block.paper.table, "block": block.name, "data": data, **cell.numbers()} for cell in cells]


def _sentence(text: str) -> str:
    """A note as a sentence of a caption."""
    return f"{text[:1].upper()}{text[1:].removesuffix('.')}."


def _left_out(cells: Sequence[Filled]) -> list[str]:
    """Sentences on records that do not count, and on those whose training nothing confirms."""
    reasons = list(dict.fromkeys(reason for cell in cells for reason in cell.reasons))
    notes = list(dict.fromkeys(cell.note for cell in cells if cell.note))
    return [
        *([f"Records that do not count: {'; '.join(reasons)}."] if reasons else []),
        *([f"No card confirms the training of {'; '.join(notes)}."] if notes else []),
    ]


def overview(papers: Sequence[Paper], records: Sequence[RunRecord]) -> Table:
    """Every block, and how much of it the records cover."""
    rows = []
    for block in blocks(papers):
        paper = block.paper
        numbers = sum(map(len, paper.rows.values()))
        covers = _share(fill(paper.measured_by, records)) if paper.measured_by else "not coverable yet"
        digits = _share(fill(paper.digits, records)) if paper.digits else "none"
        rows.append([paper.table or "none", block.name, str(numbers), covers, digits])
    missing = [name for paper in papers for name in paper.not_at_hand]
    rows += [[name, "not at hand", "", "", ""] for name in missing]
    header = ["table", "block", "numbers", "measured", "on digits"]
    caption = f"One of them: harness reproduce TABLE. On digits: the same shape on {DIGITS}."
    data = [dict(zip(header, row, strict=True)) for row in rows]
    return Table("Published tables", header, rows, caption, data=data)


def _share(cells: Sequence[Filled]) -> str:
    return f"{sum(cell.metric is not None for cell in cells)} of {len(cells)}"
