"""Numbers that papers printed, on the page: marked as published, and never ranked with measured ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from harness.evaluation.records.record import RunRecord
from harness.report.page.charts.published import Measured, published
from harness.report.page.parts import BoardTable, Section, board_table, slug
from harness.report.published import reproduction
from harness.report.published.paper_tables import Paper
from harness.report.published.reproduction import PublishedBlock
from harness.report.table import Table

SENTENCE = "† Published; other weights, data and hardware may be behind it, so it has no rank."


@dataclass(frozen=True)
class PublishedTable:
    """A table of a paper, with what the records measure of it.

    benchmark: that its title begins with. table: as printed. shown: on the page, measured numbers beside.
    measured: the metrics, by row and column.
    """

    benchmark: str
    table: Table
    shown: BoardTable
    measured: Measured


def published_tables(papers: Sequence[Paper], records: Sequence[RunRecord]) -> list[PublishedTable]:
    """All tables of some papers, each cell with the record that measures the same, if there is one."""
    tables = []
    for place, block in enumerate(reproduction.blocks(papers), 1):
        grid = block.paper.measured_by
        cells = reproduction.fill(grid, records, block.paper) if grid else []
        measured = {(cell.row, cell.column): cell.metric for cell in cells if cell.metric}
        printed = _printed(block)
        marked = board_table(slug("published", str(place)), reproduction.table(block, records) if measured else printed)
        rows = [replace(row, published=True) for row in marked.rows]
        caption = f"{SENTENCE} {marked.caption}".strip()
        shown = replace(marked, rows=rows, caption=caption)
        tables.append(PublishedTable(block.title.partition(",")[0].strip(), printed, shown, measured))
    return tables


def _printed(block: PublishedBlock) -> Table:
    """A table of a paper as printed."""
    paper = block.paper
    rows = [[name, *(f"{value:.2f}" for value in values)] for name, values in paper.rows.items()]
    title = f"{block.title} (published: {block.short})"
    return Table(title, [paper.of, *paper.columns], rows, paper.note)


def published_section(tables: Sequence[PublishedTable], above: Sequence[str]) -> list[Section]:
    """The section with the charts of all tables of papers, and the tables of benchmarks without a leaderboard.

    above: benchmarks with a leaderboard, which has their tables. No section where there are no tables of papers.
    """
    if not tables:
        return []
    intro = "Tables of papers, for orientation. Benchmarks with a leaderboard above have theirs below that table."
    shown = [entry.shown for entry in tables if entry.benchmark not in above]
    charts = published([entry.table for entry in tables], [entry.measured for entry in tables])
    return [Section("published", "Published numbers", intro, shown, charts)]
