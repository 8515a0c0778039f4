"""Numbers that papers printed, on the page: marked as published, and never ranked with measured ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from harness.report.page.charts.published import published
from harness.report.page.parts import BoardTable, Section, board_table, slug
from harness.report.table import Table

SENTENCE = "† Published, not measured here; other weights, data and hardware may be behind it, so it has no rank."


def published_tables(tables: Sequence[Table]) -> dict[str, list[BoardTable]]:
    """Tables of papers for the page, by the benchmark that their titles begin with."""
    by_benchmark: dict[str, list[BoardTable]] = {}
    for place, table in enumerate(tables, 1):
        marked = board_table(slug("published", str(place)), table)
        rows = [replace(row, published=True) for row in marked.rows]
        caption = f"{SENTENCE} {table.caption}".strip()
        block = replace(marked, rows=rows, caption=caption)
        by_benchmark.setdefault(table.title.partition(",")[0].strip(), []).append(block)
    return by_benchmark


def published_section(blocks: Sequence[BoardTable], tables: Sequence[Table]) -> list[Section]:
    """The section with the charts of all tables of papers, and the tables whose benchmark has no leaderboard here.

    blocks: these, from `published_tables`. tables: all of them. No section where there are no tables of papers.
    """
    if not tables:
        return []
    intro = "Tables of papers, for orientation. Benchmarks with a leaderboard above have theirs below that table."
    return [Section("published", "Published numbers", intro, blocks, published(tables))]
