"""Leaderboards as tables: a row per classifier and method, or a metric under every condition. Pure: text out."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from harness.evaluation.records import keys
from harness.evaluation.records.record import Cost, RunRecord
from harness.report.boards import boards
from harness.report.filters import CALLS, columns
from harness.report.names import (
    MEASURED,
    flag_note,
    heading,
    model_names,
    settings_note,
    spell_flagged,
    title,
    variants,
    weights_named,
)
from harness.report.ranks.board_ranks import SEEDS, TOP, board_ranks
from harness.report.ranks.unranked import unranked
from harness.report.table import RANK, Table, markdown

COVERS: Mapping[str, str] = {
    "ece": "ECE's interval is for the expected calibration error in these 15 bins over all such images, whose estimate "
    "here is biased upwards; it begins at 0 unless calibration is rejected at 2.5 %.",
    "adaptive_ece": "The interval of ECE in bins of equal numbers is for that error over all such images, whose "
    "estimate here is biased upwards; it begins at 0 unless calibration is rejected at 2.5 %.",
    "smooth_ece": "The interval of smooth ECE is for that error at these images' bandwidth, over all such images; it "
    "begins at 0 unless calibration is rejected at 2.5 %.",
    "coverage_at_5_risk": "The interval of coverage at 5 % risk is for the largest coverage over all such images, "
    "whose estimate here is biased upwards where the risk is near 5 % throughout; it is made of tests of thresholds.",
    "nll": "NLL's interval allows for unseen images with a loss of 10 nats, or of twice the worst one seen.",
    **dict.fromkeys(
        ("cosine_wrong", "cosine_score_random", "cosine_mean_random", "gain_random", "low_frequency_random"),
        "Controls: cosine wrong is held against the target of a wrong class; columns that end in random are of the "
        "same architecture with random weights.",
    ),
}
"""By metric, a sentence for the captions of tables whose intervals cover something else than sampling of images, or
whose columns are controls."""


def ranking(board: Sequence[RunRecord], places: Sequence[int] | None = None, patterns: Sequence[str] = ()) -> Table:
    """One leaderboard: a row per classifier and method.

    board: all of its records, ranked: ranks are of the whole board. places: of the rows to show; None for all.
    patterns: of the columns to show, see `filters.columns`; none for those of the board.
    Rows that never rank follow, see `unranked`; they are in no `Table.data`.
    """
    ranks = board_ranks(board)
    places = range(len(board)) if places is None else places
    entries = [board[place] for place in places]
    first = board[0]
    shown = [column for column in _columns(board, patterns) if any(entry.metric(*column) for entry in entries)]
    costs = [spell_calls(entry.cost) for entry in entries]
    calls = CALLS in patterns or (not patterns and (len(set(costs)) > 1 or len(costs) == 1))
    more, read = unranked(board)
    marks, notes = marked_notes(entries, read)
    named = shown if patterns else ()
    header = [RANK if ranks.sets else "", "model", "method", *(heading(first, *c, beside=named) for c in shown)]
    header += [*(["note"] if marks else []), *(["denoiser calls"] if calls else [])]
    models, methods = model_names(board), variants(board)
    rows = [
        [
            ranks.cell(place),
            models[place],
            methods[place],
            *(spell_flagged(board[place], *column) for column in shown),
            *([marks[row]] if marks else []),
            *([costs[row]] if calls else []),
        ]
        for row, place in enumerate(places)
    ]
    spare_cells = [""] * (len(header) - 3 - len(shown))
    rows += [["", row.name, "", *map(row.cell, shown), *spare_cells] for row in more]
    facts = "; ".join(f"{name}: {weights_named(value)}" for name, value in sorted(first.facts.items()))
    caption = f"95 % intervals over source images. Data {first.data_sha256[:12]}, seed {first.spec.seed}."
    caption = " ".join(filter(None, [ranks.caption, caption]))
    sentences = [*covers({metric for metric, _ in shown}), *_one_condition(board, shown)]
    sentences += [f"{facts}."] if facts else []
    sentences += filter(None, [settings_note(entries), flag_note(entries)])
    sentences += [f"Denoiser calls: {costs[0]}."] if not calls and not patterns else []
    sentences += [row.caption for row in more]
    data = [{**_numbers(board[place], shown), **ranks.numbers(place), "method": methods[place]} for place in places]
    top = [row for row, place in enumerate(places) if ranks.is_top(place)]
    spare = [] if patterns else _spare(shown, header)
    return Table(
        title(first), header, rows, " ".join([caption, *sentences, *notes]), data=data, names=3, top=top, spare=spare
    )


def _spare(shown: Sequence[tuple[str, str]], header: Sequence[str]) -> list[int]:
    """Places of the columns to do without first: the mean error, one minus the mean accuracy, and the cost."""
    twice = {("mean_accuracy", "mean"), ("mean_error", "mean")} <= set(shown)
    places = [3 + shown.index(("mean_error", "mean"))] if twice else []
    return [*places, *([len(header) - 1] if header[-1] == "denoiser calls" else [])]


def _one_condition(board: Sequence[RunRecord], shown: Sequence[tuple[str, str]]) -> list[str]:
    """A sentence on the condition of all columns, where headings do not name it and its metrics have others."""
    conditions = {condition for _, condition in shown}
    if len(conditions) != 1 or conditions & {"mean", ""}:
        return []
    metrics = {metric for metric, _ in shown}
    others = {metric.condition for metric in board[0].metrics if metric.name in metrics}
    several = f"All columns are of the condition {min(conditions)}, one of {len(others)}; --metric shows the others."
    return [several] if len(others) > 1 else []


def covers(metrics: Collection[str]) -> list[str]:
    """The sentences of `COVERS` on these metrics."""
    return list(dict.fromkeys(sentence for metric, sentence in COVERS.items() if metric in metrics))


def _columns(board: Sequence[RunRecord], patterns: Sequence[str]) -> Sequence[tuple[str, str]]:
    return columns(board, patterns) if patterns else board[0].columns


def _numbers(entry: RunRecord, shown: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """One row of `ranking`, unrounded: each metric with its interval, under its name, or name and condition."""
    values: dict[str, Any] = {"suite": keys.benchmark(entry.suite), "version": entry.suite_version}
    values |= {"status": entry.status, "coverage": entry.coverage, "seed": entry.spec.seed}
    values |= dict.fromkeys(("rank", "rank_best", "rank_worst"), math.nan)
    values |= {"model": entry.model.name, "method": entry.method}
    names = [name for name, _ in shown]
    for name, condition in shown:
        metric = entry.metric(name, condition)
        column = name if names.count(name) == 1 else f"{name} {condition}"
        low, high = metric.interval if metric else (math.nan, math.nan)
        values |= {column: metric.value if metric else math.nan, f"{column} low": low, f"{column} high": high}
    return {**values, "denoiser_calls": entry.cost.method_calls_per_image, "key": entry.key}


def marked_notes(entries: Sequence[RunRecord], read: Collection[str] = ()) -> tuple[list[str], list[str]]:
    """Marks of the rows, and sentences: notes of all rows first, then each other note after its mark.

    read: notes that the table says in another way. Figures of flags that may not be raised stand in records alone.

    A mark is letters such as "a" or "a, c"; no row has one where all notes are shared. Notes that begin alike and end
    otherwise give the beginning once: "BEGINNING: a: END; b: END."
    """
    told = [[note for note in entry.notes if not note.startswith(MEASURED)] for entry in entries]
    shared = set.intersection(*map(set, told)) if entries else set()
    marks: dict[str, str] = {}
    for notes in told:
        for note in notes:
            if note not in shared and note not in marks:
                marks[note] = _letters(len(marks))
    by_beginning: dict[str, list[str]] = {}
    for note in marks:
        by_beginning.setdefault(note.rpartition(": ")[0] or note, []).append(note)
    sentences = sorted(shared.difference(read))
    for beginning, notes in by_beginning.items():
        if len(notes) == 1:
            sentences += [f"{marks[note]}: {note}" for note in notes]
        else:
            ends = [f"{marks[note]}: {note.rpartition(': ')[2].removesuffix('.')}" for note in notes]
            sentences.append(f"{beginning}: {'; '.join(ends)}.")
    if not marks:
        return [], sentences
    return [", ".join(marks[note] for note in entry.notes if note in marks) for entry in entries], sentences


def _letters(number: int) -> str:
    """a, b, ... z, aa, ab, ... for 0, 1, ...: marks that no one takes for ranks."""
    head, tail = divmod(number, 26)
    return (_letters(head - 1) if head else "") + chr(ord("a") + tail)


def by_condition(
    board: Sequence[RunRecord], metric: str, places: Sequence[int] | None = None, patterns: Sequence[str] = ()
) -> Table:
    """One metric of a leaderboard's records under every condition, on the longer side of the table what is more.

    A row per condition and a column per classifier and method; or a row per classifier and method and a column per
    condition, where there are more records than conditions. places, patterns: see `ranking`; only the conditions in
    patterns that fit are shown.
    """
    name = metric.replace(" ", "_")
    first = board[0]
    places = range(len(board)) if places is None else places
    wanted = columns(board, patterns or [f"{name}@*"])
    conditions = [condition for column, condition in wanted if column == name]
    metric_heading = heading(first, name, next(iter(conditions), ""), bare=True)
    sentences = ["95 % intervals.", *covers([name])]
    models, methods = model_names(board), variants(board)
    cells = [
        [spell_flagged(board[place], name, c) if board[place].metric(name, c) else "" for c in conditions]
        for place in places
    ]
    table_title = f"{title(first)}: {metric_heading}"
    if len(places) > len(conditions):
        ranks = board_ranks(board)
        sentences[:0] = filter(None, [ranks.caption])
        top = [row for row, place in enumerate(places) if ranks.is_top(place)]
        names = [[ranks.cell(place), models[place], methods[place]] for place in places]
        rows = [[*name, *values] for name, values in zip(names, cells, strict=True)]
        header = [RANK if ranks.sets else "", "model", "method", *conditions]
        return Table(table_title, header, rows, " ".join(sentences), names=3, top=top)
    header = ["", *(f"{models[place]}, {methods[place]}" for place in places)]
    rows = [[c, *(values[k] for values in cells)] for k, c in enumerate(conditions)]
    return Table(table_title, header, rows, " ".join(sentences))


def spell_calls(cost: Cost) -> str:
    """Denoiser calls of a method per image: ``50 / image``, or ``≤ 50 / image`` where that is a limit.

    With backward passes ``50 + 50 back / image``.
    """
    most = "≤ " if cost.at_most and cost.method_calls_per_image else ""
    back = f" + {cost.denoiser_gradients_per_image} back" if cost.denoiser_gradients_per_image else ""
    return f"{most}{cost.method_calls_per_image}{back} / image"


def crosstab(entries: Sequence[RunRecord]) -> Table:
    """The same leaderboard as classifiers by methods, first column only: the shape of the paper's Table 1."""
    first = entries[0]
    models = sorted({e.model.name for e in entries})
    names = variants(entries)
    methods = sorted(set(names), key=lambda name: (name != "default", name))
    ranks = board_ranks(entries)
    cells = {
        (e.model.name, name): spell_flagged(e, *e.columns[0]) + (f" {TOP}" if ranks.is_top(place) else "")
        for place, (e, name) in enumerate(zip(entries, names, strict=True))
    }
    rows = [[m, *(cells.get((m, t), "") for t in methods)] for m in models]
    caption = (
        f"{TOP} marks cells that may be the best, as the test images say. {SEEDS} {ranks.without}".rstrip()
        if ranks.sets
        else ""
    )
    return Table(f"{title(first)}: {heading(first, *first.columns[0])}", ["model", *methods], rows, caption)


def page(records: Iterable[RunRecord]) -> str:
    """The text of results/leaderboard.md."""
    parts = [
        "# Leaderboard",
        "",
        "Computed from the records in this folder by `harness leaderboard --write`; not edited by hand.",
        "",
    ]
    for entries in boards(records).values():
        if len({e.method for e in entries}) > 1 and len({e.model.name for e in entries}) > 1:
            parts.append(markdown(crosstab(entries)))
        parts.append(markdown(ranking(entries)))
    return "\n".join(parts)
