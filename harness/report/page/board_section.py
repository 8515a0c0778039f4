"""A leaderboard's section of the page: the table with rank sets, the charts, the provenance of every row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from harness.base.errors import HarnessError
from harness.evaluation.records import keys
from harness.evaluation.records.record import RunRecord
from harness.report.colours import Style
from harness.report.leaderboard import COVERS, marked_notes, spell_calls
from harness.report.names import (
    flag_note,
    heading,
    model_names,
    settings_note,
    spell,
    spell_flagged,
    variants,
    weights_named,
)
from harness.report.page.charts.boards import charts_of_board
from harness.report.page.parts import BoardRow, BoardTable, Cell, Chart, Section, cell
from harness.report.page.provenance import rows_of_board
from harness.report.ranks.board_ranks import SEEDS, Ranks, board_ranks
from harness.report.ranks.unranked import unranked
from harness.types import Metric


def board_section(
    board: Sequence[RunRecord],
    name: str,
    id: str,
    published: Sequence[BoardTable],
    environments: Sequence[str],
    looks: Mapping[str, Style],
) -> tuple[Section, Ranks]:
    """The section of one leaderboard, and the ranks of its rows.

    name: the heading.
    published: tables that papers printed of the same benchmark, shown below the measured one, never ranked with it.
    environments: of all records of the page, as `provenance.environments` lists them.
    looks: by classifier, its style in the whole page.
    """
    ranks = _ranks(board)
    charts, missing = _charts(board, ranks, looks)
    section = Section(
        id,
        name,
        intro=f"{_facts(board)}\n{rank_sentence(board, ranks)}",
        tables=[_table(board, ranks, f"{id}-table"), *published],
        charts=charts,
        notes=missing,
        folded=[rows_of_board(board, f"{id}-provenance", environments)],
    )
    return section, ranks


def _ranks(board: Sequence[RunRecord]) -> Ranks:
    try:
        return board_ranks(board)
    except HarnessError as reason:
        return Ranks(board[0].columns[0], reason=str(reason))


def _charts(
    board: Sequence[RunRecord], ranks: Ranks, looks: Mapping[str, Style]
) -> tuple[Sequence[Chart], Sequence[str]]:
    """The charts of a board, or none and the reason, such as a sample table that is missing."""
    try:
        return charts_of_board(board, ranks, looks), ()
    except (HarnessError, ArithmeticError, LookupError, ValueError) as reason:
        # One odd record, which passed every check, takes away the charts of its board, not the page.
        return (), [f"Charts are left out: {reason}"]


def rank_sentence(board: Sequence[RunRecord], ranks: Ranks) -> str:
    """How the rows of a board rank, in words."""
    metric = heading(board[0], *ranks.column)
    if not ranks.sets:
        return f"Rows are in the order of {metric}, without ranks: {ranks.reason.rstrip('.')}."
    top, ranked = len(top_rows(ranks)), len(ranks.ranked)
    if top == ranked > 1:
        beginning = f"The data do not tell the {top} rows apart by {metric}: any may be the best, at 95 %."
        return f"{beginning} {SEEDS} {ranks.without}".rstrip()
    may = "One row is the best" if top == 1 else f"{top} rows may be the best"
    return f"{may} by {metric}, at 95 % jointly for all {ranked} rows: marked ●. {SEEDS} {ranks.without}".rstrip()


def top_rows(ranks: Ranks) -> list[int]:
    """Places of the rows that may be the best."""
    return [row for row in range(len(ranks.sets)) if ranks.is_top(row)]


def _facts(board: Sequence[RunRecord]) -> str:
    """What all rows of a board share, in one line."""
    first = board[0]
    facts = [f"{name}: {weights_named(value)}" for name, value in sorted(first.facts.items())]
    subset = "" if first.status == "complete" else " (a subset)"
    rows = "1 row" if len(board) == 1 else f"{len(board)} rows"
    scope = [rows, f"version {first.suite_version}", f"{first.coverage}{subset}"]
    return " · ".join([*scope, f"data {first.data_sha256[:12]}", f"seed {first.spec.seed}", *facts])


def _table(board: Sequence[RunRecord], ranks: Ranks, id: str) -> BoardTable:
    """The leaderboard: model, method, rank set, the suite's metrics with intervals, denoiser calls per image."""
    first = board[0]
    shown = [column for column in first.columns if any(entry.metric(*column) for entry in board)]
    more, read = unranked(board)
    marks, notes = marked_notes(board, read)
    # Where all rows may be the best, a mark on each would say nothing.
    top = set(top_rows(ranks)) if len(top_rows(ranks)) < len(board) else set()
    header = ["model", "method", "rank", *(heading(first, *column) for column in shown)]
    header += ["denoiser calls / image", *(["note"] if marks else [])]
    rows = []
    for place, (entry, model, method) in enumerate(zip(board, model_names(board), variants(board), strict=True)):
        cells = [Cell(model), Cell(method), rank_cell(ranks, place)]
        cells += [replace(metric_cell(entry.metric(*column)), text=spell_flagged(entry, *column)) for column in shown]
        cells += [Cell(spell_calls(entry.cost).removesuffix(" / image"), float(entry.cost.method_calls_per_image))]
        cells += [Cell(marks[place])] if marks else []
        rows.append(BoardRow(cells, place in top))
    for row in more:
        cells = [Cell(row.name), Cell(""), Cell("–"), *(cell(row.cell(column)) for column in shown)]
        rows.append(BoardRow([*cells, *[Cell("")] * (len(header) - len(cells))]))
    sentences = ["In brackets: 95 % intervals over source images."]
    sentences += [sentence for metric, sentence in COVERS.items() if metric in {name for name, _ in shown}]
    sentences += [*filter(None, [settings_note(board), flag_note(board)]), *(row.caption for row in more), *notes]
    return BoardTable(id, "Leaderboard", header, rows, " ".join(sentences), names=2, rank_column=2)


def metric_cell(metric: Metric | None) -> Cell:
    """A metric with its interval, in the unit of `heading`; sorted and copied unrounded."""
    if metric is None:
        return Cell(spell(metric))
    scale = 100 if metric.unit in ("fraction", "ratio") else 1
    low, high = metric.interval
    return Cell(spell(metric), scale * metric.value, (scale * low, scale * high))


def rank_cell(ranks: Ranks, place: int) -> Cell:
    """A row's rank set, sorted by its best rank, then by its worst."""
    ends = ranks.set_of(place)
    if not ends:
        return Cell("–")
    best, worst = ends
    return Cell(ranks.spell(place).replace("-", "–"), best + worst / 1e6)


def benchmark_name(board: Sequence[RunRecord]) -> str:
    """The name of a board's suite without settings, as tables of papers begin with."""
    return keys.benchmark(board[0].suite).partition(":")[0]
