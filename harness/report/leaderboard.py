"""Leaderboards as tables: a row per classifier and method, or a metric under every condition. Pure: text out."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from harness.evaluation.records import record
from harness.evaluation.records.record import Cost, RunRecord
from harness.report.boards import boards
from harness.report.names import heading, label, model_names, settings_note, spell, title, variants
from harness.report.table import Table, markdown

COVERS: Mapping[str, str] = {
    "ece": "ECE's interval is for the expected calibration error in these 15 bins over all such images, whose estimate "
    "here is biased upwards; it begins at 0 unless calibration is rejected at 2.5 %.",
    "nll": "NLL's interval allows for unseen images with a loss of 10 nats, or of twice the worst one seen.",
}
"""By metric, a sentence for the captions of tables whose intervals cover something else than sampling of images."""


def ranking(entries: Sequence[RunRecord]) -> Table:
    """One leaderboard: a row per classifier and method."""
    first = entries[0]
    shown = [column for column in first.columns if any(entry.metric(*column) for entry in entries)]
    header = ["", "model", "method", *(heading(first, *column) for column in shown), "denoiser calls"]
    rows = [
        [
            str(place),
            model,
            method,
            *(spell(entry.metric(*column)) for column in shown),
            calls(entry.cost),
        ]
        for place, (entry, model, method) in enumerate(
            zip(entries, model_names(entries), variants(entries), strict=True), 1
        )
    ]
    facts = "; ".join(f"{name}: {value}" for name, value in sorted(first.facts.items()))
    caption = f"95 % intervals over source images. Data {first.data_sha256[:12]}, seed {first.spec.seed}."
    metrics = {metric for metric, _ in shown}
    sentences = [sentence for metric, sentence in COVERS.items() if metric in metrics]
    sentences += [f"{facts}."] if facts else []
    sentences += filter(None, [settings_note(entries)])
    data = [_numbers(entry, shown) for entry in entries]
    for place, (values, method) in enumerate(zip(data, variants(entries), strict=True), 1):
        values |= {"rank": place, "method": method}
    return Table(title(first), header, rows, " ".join([caption, *sentences, *notes_of_rows(entries)]), data=data)


def _numbers(entry: RunRecord, shown: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """One row of `ranking`, unrounded: each metric with its interval, under its name, or name and condition."""
    values: dict[str, Any] = {"suite": record.benchmark(entry.suite), "version": entry.suite_version}
    values |= {"status": entry.status, "coverage": entry.coverage, "seed": entry.spec.seed}
    values |= {"rank": 0, "model": entry.model.name, "method": entry.method}
    names = [name for name, _ in shown]
    for name, condition in shown:
        metric = entry.metric(name, condition)
        column = name if names.count(name) == 1 else f"{name} {condition}"
        low, high = metric.interval if metric else (math.nan, math.nan)
        values |= {column: metric.value if metric else math.nan, f"{column} low": low, f"{column} high": high}
    return {**values, "denoiser_calls": entry.cost.method_calls_per_image, "key": entry.key}


def notes_of_rows(entries: Sequence[RunRecord]) -> list[str]:
    """The records' notes: shared ones first, then each other note after the labels of its rows.

    Notes that begin alike and end otherwise give the beginning once: "BEGINNING: ROW: END; ROW: END."
    """
    shared = set.intersection(*(set(entry.notes) for entry in entries))
    labels: dict[str, list[str]] = {}
    for entry in entries:
        for note in entry.notes:
            labels.setdefault(note, []).append(label(entry))
    by_beginning: dict[str, list[str]] = {}
    for note in labels:
        if note not in shared:
            by_beginning.setdefault(note.rpartition(": ")[0] or note, []).append(note)
    sentences = sorted(shared)
    for beginning, notes in by_beginning.items():
        if len(notes) == 1:
            sentences += [f"{', '.join(labels[note])}: {note}" for note in notes]
        else:
            ends = [f"{', '.join(labels[note])}: {note.rpartition(': ')[2].removesuffix('.')}" for note in notes]
            sentences.append(f"{beginning}: {'; '.join(ends)}.")
    return sentences


def by_condition(entries: Sequence[RunRecord], metric: str) -> Table:
    """One metric of a leaderboard's records in full: a row per condition, a column per classifier and method."""
    name = metric.replace(" ", "_")
    first = entries[0]
    conditions = dict.fromkeys(m.condition for entry in entries for m in entry.metrics if m.name == name)
    columns = [f"{model}, {method}" for model, method in zip(model_names(entries), variants(entries), strict=True)]
    rows = [[c, *(spell(m) if (m := e.metric(name, c)) else "" for e in entries)] for c in conditions]
    metric_heading = heading(first, name, next(iter(conditions)), bare=True)
    sentences = [COVERS[name]] if name in COVERS else []
    return Table(f"{title(first)}: {metric_heading}", ["", *columns], rows, " ".join(["95 % intervals.", *sentences]))


def calls(cost: Cost) -> str:
    """Denoiser calls of a method per image: ``50 / image``, or ``≤ 50 / image`` where that is a limit."""
    most = "≤ " if cost.at_most and cost.method_calls_per_image else ""
    return f"{most}{cost.method_calls_per_image} / image"


def crosstab(entries: Sequence[RunRecord]) -> Table:
    """The same leaderboard as classifiers by methods, first column only: the shape of the paper's Table 1."""
    first = entries[0]
    models = sorted({e.model.name for e in entries})
    names = variants(entries)
    methods = sorted(set(names), key=lambda name: (name != "default", name))
    cells = {(e.model.name, name): spell(e.metric(*e.columns[0])) for e, name in zip(entries, names, strict=True)}
    rows = [[m, *(cells.get((m, t), "") for t in methods)] for m in models]
    return Table(f"{title(first)}: {heading(first, *first.columns[0])}", ["model", *methods], rows)


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
