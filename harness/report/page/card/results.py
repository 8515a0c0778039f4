"""Results of one classifier: a section per leaderboard, its calibration, and its weakest conditions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harness.base.errors import HarnessError
from harness.evaluation.records.keys import benchmark
from harness.evaluation.records.record import RunRecord
from harness.report.colours import Style
from harness.report.names import heading, model_names, title, variants
from harness.report.page.board_section import metric_cell, rank_cell
from harness.report.page.charts.boards import charts_of_board
from harness.report.page.charts.curves import TIME
from harness.report.page.parts import BoardRow, BoardTable, Cell, Chart, Section
from harness.report.page.provenance import rows_of_board
from harness.report.ranks.board_ranks import SEEDS, Ranks, board_ranks
from harness.types import Metric

CALIBRATION = ("ece", "adaptive_ece", "smooth_ece", "nll", "brier", "aurc", "augrc")
"""Metrics of calibration and of selective classification."""

WORST = 5
"""Conditions of each leaderboard that the table of weaknesses shows."""

PLAIN = "default"
"""The method without any adaptation, in float32."""


@dataclass(frozen=True)
class OwnRows:
    """A leaderboard, and the rows of one classifier on it.

    board: all its records. places: of the classifier's rows. ranks: of the whole board.
    """

    board: Sequence[RunRecord]
    places: Sequence[int]
    ranks: Ranks

    @classmethod
    def of(cls, board: Sequence[RunRecord], model: str) -> OwnRows:
        """The rows of a classifier on a board; rank sets that cannot be computed have the reason."""
        places = [place for place, entry in enumerate(board) if entry.model.name == model]
        try:
            return cls(board, places, board_ranks(board))
        except HarnessError as reason:
            return cls(board, places, Ranks(board[0].columns[0], reason=str(reason)))

    @property
    def entries(self) -> list[RunRecord]:
        """The classifier's records."""
        return [self.board[place] for place in self.places]

    @property
    def methods(self) -> list[str]:
        """Names of their methods, as the whole board spells them."""
        names = variants(self.board)
        return [names[place] for place in self.places]

    @property
    def own_ranks(self) -> Ranks:
        """The rank sets of the classifier's rows, as the whole board gives them."""
        row_of = {place: row for row, place in enumerate(self.places)}
        better = [(row_of[i], row_of[j]) for i, j in self.ranks.better if i in row_of and j in row_of]
        sets = [self.ranks.sets[place] for place in self.places] if self.ranks.sets else ()
        return Ranks(self.ranks.column, sets, frozenset(better), self.ranks.reason, len(self.board))


def result_section(own: OwnRows, id: str, environments: Sequence[str], looks: Mapping[str, Style]) -> Section:
    """The section of one leaderboard: the classifier's rows with rank sets among all rows, charts, every metric.

    environments: of the classifier's records. looks: by classifier, its style in the report of all records.
    """
    charts, notes = _charts(own, looks)
    rows = f"{len(own.board)} rows, {len(set(model_names(own.board)))} classifiers"
    ranked = f"{SEEDS if own.ranks.sets else ''} {own.ranks.without}".strip()
    intro = f"Ranks are among all rows of the leaderboard ({rows}). {ranked}"
    tables = [_table(own, f"{id}-table")]
    folded = [_every_metric(own, f"{id}-metrics"), rows_of_board(own.entries, f"{id}-provenance", environments)]
    return Section(id, title(own.board[0]), intro, tables, charts, notes=notes, folded=folded)


def _table(own: OwnRows, id: str) -> BoardTable:
    first = own.board[0]
    shown = [column for column in first.columns if any(entry.metric(*column) for entry in own.entries)]
    rows = []
    for place, entry, method in zip(own.places, own.entries, own.methods, strict=True):
        numbers = [metric_cell(entry.metric(*column)) for column in shown]
        rows.append(BoardRow([Cell(method), rank_cell(own.ranks, place), *numbers], own.ranks.is_top(place)))
    header = ["method", "rank", *(heading(first, *column) for column in shown)]
    notes = dict.fromkeys(note for entry in own.entries for note in entry.notes)
    caption = " ".join(["In brackets: 95 % intervals over source images.", *notes])
    return BoardTable(id, "Results", header, rows, caption, rank_column=1)


def _every_metric(own: OwnRows, id: str) -> BoardTable:
    """A row per metric and condition, a column per method."""
    names = dict.fromkeys((metric.name, metric.condition) for entry in own.entries for metric in entry.metrics)
    rows = [
        BoardRow(
            [
                Cell(name.replace("_", " ")),
                Cell(condition),
                *(metric_cell(e.metric(name, condition)) for e in own.entries),
            ]
        )
        for name, condition in names
    ]
    caption = "Fractions and ratios in percent; in brackets 95 % intervals over source images."
    return BoardTable(id, "Every metric", ["metric", "condition", *own.methods], rows, caption, names=2)


def _charts(own: OwnRows, looks: Mapping[str, Style]) -> tuple[Sequence[Chart], Sequence[str]]:
    try:
        return charts_of_board(own.entries, own.own_ranks, looks), ()
    except HarnessError as reason:
        return (), [f"Charts are left out: {reason}"]


def calibration_section(boards: Sequence[OwnRows]) -> Section | None:
    """Calibration and selective classification over all conditions, a row per leaderboard and method."""
    lines = []
    for own in boards:
        for entry, method in zip(own.entries, own.methods, strict=True):
            condition = "mean" if entry.metric(CALIBRATION[0], "mean") else None
            metrics = [entry.metric(name, condition) or entry.metric(name) for name in CALIBRATION]
            if any(metrics):
                lines.append((benchmark(entry.suite), method, metrics))
    kept = [k for k in range(len(CALIBRATION)) if any(metrics[k] for _, _, metrics in lines)]
    if not lines:
        return None
    rows = [
        BoardRow([Cell(suite), Cell(method), *(metric_cell(m) if (m := metrics[k]) else Cell("") for k in kept)])
        for suite, method, metrics in lines
    ]
    header = ["suite", "method", *(_with_unit(CALIBRATION[k], [metrics[k] for _, _, metrics in lines]) for k in kept)]
    table = BoardTable("calibration-table", "Calibration", header, rows, "95 % intervals in brackets.", names=2)
    intro = (
        "How far confidences can be trusted: smaller is better. Over all conditions of a suite where it has several."
    )
    return Section("calibration", "Calibration", intro, [table])


def _with_unit(name: str, metrics: Sequence[object]) -> str:
    unit = next((getattr(metric, "unit", "") for metric in metrics if metric), "")
    return f"{name.replace('_', ' ')} ({'%' if unit == 'fraction' else unit})"


def weakness_section(boards: Sequence[OwnRows]) -> Section | None:
    """The conditions where the classifier by itself falls most behind the best one, and what helps there most."""
    rows = [row for own in boards for row in _weakest(own)]
    if not rows:
        return None
    header = ["suite", "condition", "accuracy (%)", "best classifier there", "its accuracy (%)"]
    header += ["best method of this one there", "accuracy with it (%)"]
    caption = (
        "Accuracies without a method, but for the last column. The best classifier and the best method are chosen "
        "after the fact, per condition: their numbers are optimistic. 95 % intervals in brackets."
    )
    table = BoardTable("weakness-table", "Weakest conditions", header, rows, caption, names=2)
    intro = (
        f"On each leaderboard with several conditions, the {WORST} where this classifier by itself is furthest behind "
        "the best classifier by itself; accuracies by diffusion time are left out."
    )
    return Section("weaknesses", "Weaknesses", intro, [table])


def _weakest(own: OwnRows) -> list[BoardRow]:
    plain = next((entry for entry in own.entries if entry.variant == PLAIN), None)
    if plain is None:
        return []
    others = [entry for entry in own.board if entry.variant == PLAIN]
    lines = []
    for metric in plain.metrics:
        # Pure noise at a late diffusion time is no weakness of a classifier.
        if metric.name == "accuracy" and metric.condition != "mean" and not TIME.fullmatch(metric.condition):
            best, name = _best([(entry.model.name, entry) for entry in others], metric.condition)
            lines.append((best.value - metric.value, metric, best, name))
    if len(lines) < 2:
        return []
    rows = []
    for _, metric, best, name in sorted(lines, key=lambda line: (-line[0], line[1].condition))[:WORST]:
        helped, method = _best(list(zip(own.methods, own.entries, strict=True)), metric.condition)
        names = [Cell(benchmark(plain.suite)), Cell(metric.condition)]
        cells = [metric_cell(metric), Cell(name), metric_cell(best), Cell(method), metric_cell(helped)]
        rows.append(BoardRow([*names, *cells]))
    return rows


def _best(named: Sequence[tuple[str, RunRecord]], condition: str) -> tuple[Metric, str]:
    """The highest accuracy under a condition, and its name: the first of several."""
    accuracies = [(metric, name) for name, entry in named if (metric := entry.metric("accuracy", condition))]
    return max(accuracies, key=lambda pair: pair[0].value)
