"""The report, put together from the records of a results folder."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from harness.base.errors import HarnessError
from harness.evaluation.records import keys
from harness.evaluation.records.record import RunRecord
from harness.report.boards import LeaveOut, boards, doubtful, raise_error
from harness.report.colours import Style, styles
from harness.report.names import heading, label, title
from harness.report.page import provenance
from harness.report.page.board_section import benchmark_name, board_section, metric_cell, top_rows
from harness.report.page.charts.across import charts_across
from harness.report.page.gallery import gallery_section
from harness.report.page.model_card import model_page
from harness.report.page.parts import BoardRow, BoardTable, Cell, Page, Section, slug
from harness.report.page.published_tables import published_section, published_tables
from harness.report.page.render import render
from harness.report.published.paper_tables import papers
from harness.report.ranks.board_ranks import Ranks

NAMED = 3
"""Rows of a top group that the overview names; of more it gives the number."""

Progress = Callable[[str], None]
"""Called with the name of each step before it begins."""


def page(
    records: Sequence[RunRecord],
    root: Path,
    model: str | None = None,
    *,
    local: bool = True,
    leave_out: LeaveOut = raise_error,
    progress: Progress = lambda step: None,
) -> str:
    """The report as HTML: all leaderboards of the records, or with `model` everything on one classifier.

    root: the results folder, for tables of papers and galleries. local: also the user's own galleries.
    leave_out: called for each file that cannot be read.
    Raises HarnessError where there are no records, or none of that model.
    """
    if not records:
        raise HarnessError(f"No records in {root.absolute()}. Run something first: harness run")
    if model is not None:
        return render(model_page(records, root, model, local))
    return render(_report(records, root, local, leave_out, progress))


def _report(records: Sequence[RunRecord], root: Path, local: bool, leave_out: LeaveOut, progress: Progress) -> Page:
    groups = list(boards(records).values())
    published = published_tables(papers(root, leave_out), records)
    above: list[str] = []
    machines = provenance.environments(records)
    names = _board_names(groups)
    ids = _board_ids(names)
    looks = styles(entry.model.name for entry in records)
    sections, ranks = [], []
    for board, name, id in zip(groups, names, ids, strict=True):
        progress(title(board[0]))
        # Once on the page, below the first board of that benchmark.
        benchmark = benchmark_name(board)
        beside = [entry.shown for entry in published if entry.benchmark == benchmark and benchmark not in above]
        above.append(benchmark)
        section, board_ranks = board_section(board, name, id, beside, machines, looks)
        sections.append(section)
        ranks.append(board_ranks)
    progress("charts across leaderboards")
    return Page(
        "Robustness report",
        _lead(records, groups),
        _facts(records, groups),
        {
            "Overview": [_overview(groups, ranks, ids)],
            "Leaderboards": sections,
            "Across leaderboards": _across(records, looks),
            "Images": _gallery(root, local),
            "Sources": [*published_section(published, above), provenance.provenance(records)],
        },
    )


def _board_names(groups: Sequence[Sequence[RunRecord]]) -> list[str]:
    """The heading of each board: its suite, or the whole title where several boards have that suite."""
    suites = [keys.benchmark(board[0].suite) for board in groups]
    return [suite if suites.count(suite) == 1 else title(board[0]) for suite, board in zip(suites, groups, strict=True)]


def _board_ids(names: Sequence[str]) -> list[str]:
    """An id per board from its heading, numbered where several headings give one."""
    ids = [slug(name) for name in names]
    return [id if ids.count(id) == 1 else f"{id}-{ids[:k].count(id) + 1}" for k, id in enumerate(ids)]


def _across(records: Sequence[RunRecord], looks: Mapping[str, Style]) -> list[Section]:
    charts, notes = charts_across(records, looks)
    if not charts and not notes:
        return []
    return [Section("across", "Side by side", "Several leaderboards together.", charts=charts, notes=notes)]


def _gallery(root: Path, local: bool) -> list[Section]:
    section = gallery_section(root, local=local)
    return [section] if section else []


def _lead(records: Sequence[RunRecord], groups: Sequence[Sequence[RunRecord]]) -> list[str]:
    doubts = [sentence for board in groups if (sentence := doubtful(board))]
    return [
        "Image classifiers under corruption, noise and unfamiliar images, with test-time methods: every number "
        "with its interval, every order as far as the data support it, every row with its provenance.",
        *doubts,
    ]


def _facts(records: Sequence[RunRecord], groups: Sequence[Sequence[RunRecord]]) -> list[tuple[str, str]]:
    counts = [
        (len(groups), "leaderboard", "leaderboards"),
        (len({entry.model.name for entry in records}), "classifier", "classifiers"),
        (len({entry.method for entry in records}), "method", "methods"),
        (len(records), "record", "records"),
        (sum(entry.samples["rows"] for entry in records), "prediction", "predictions"),
    ]
    return [(f"{count:,}", one if count == 1 else several) for count, one, several in counts]


def _overview(groups: Sequence[Sequence[RunRecord]], ranks: Sequence[Ranks], ids: Sequence[str]) -> Section:
    """A row per leaderboard: what it ranks by, and which rows may be the best."""
    rows = [BoardRow(_overview_row(*board)) for board in zip(groups, ranks, ids, strict=True)]
    header = ["leaderboard", "ranked by", "may be the best", "rows", "first row"]
    table = BoardTable("overview-table", "Leaderboards at a glance", header, rows, names=3)
    intro = (
        "A rank is a set: 1–6 says that the data leave ranks 1 to 6 open, at 95 % for all rows of a table together. "
        "Brackets hold 95 % intervals over source images. Tables sort by their headers, and filters take words; the "
        "address keeps the view, so that a link shows it again."
    )
    return Section("overview", "Overview", intro, [table])


def _overview_row(board: Sequence[RunRecord], ranks: Ranks, id: str) -> list[Cell]:
    first = board[0]
    top = [label(board[place]) for place in top_rows(ranks)]
    names = ", ".join(top) if len(top) <= NAMED else f"{len(top)} rows" if len(top) < len(board) else "any row"
    best = first.metric(*ranks.column)
    return [
        Cell(title(first), target=id),
        Cell(heading(first, *ranks.column)),
        Cell(names or "no rank sets"),
        Cell(str(len(board)), float(len(board))),
        metric_cell(best),
    ]
