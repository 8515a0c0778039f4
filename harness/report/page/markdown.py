"""A page as Markdown, such as the README beside a model's weights: texts and tables, no charts or pictures."""

from __future__ import annotations

from harness.report import escape
from harness.report.page.parts import BoardTable, Page, Section
from harness.report.table import Table
from harness.report.table import markdown as table_markdown


def as_markdown(page: Page) -> str:
    """The text of a page in GitHub's Markdown; every text of a record is text, never markup."""
    lines = [f"# {escape.markdown(page.title)}", ""]
    for paragraph in page.lead:
        lines += [escape.markdown(paragraph, paragraph=True), ""]
    for sections in page.sections.values():
        for section in sections:
            if section.images and not section.tables:
                continue
            lines += _section(section)
    return "\n".join(lines).rstrip() + "\n"


def _section(section: Section) -> list[str]:
    lines = [f"## {escape.markdown(section.title)}", ""]
    for paragraph in filter(None, section.intro.split("\n")):
        lines += [escape.markdown(paragraph, paragraph=True), ""]
    for table in section.tables:
        lines.append(table_markdown(_plain(table)))
    for note in section.notes:
        lines += [escape.markdown(note, paragraph=True), ""]
    for table in section.folded:
        lines += ["<details><summary>Details</summary>", "", table_markdown(_plain(table)), "</details>", ""]
    return lines


def _plain(table: BoardTable) -> Table:
    return Table(table.title, table.header, [[cell.text for cell in row.cells] for row in table.rows], table.caption)
