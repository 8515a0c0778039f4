"""Leaderboards: records of a results folder, grouped, ranked and printed as tables. Pure: files in, text out."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from harness import plugins
from harness.base.errors import HarnessError, suggest
from harness.evaluation.records import record
from harness.evaluation.records.record import Cost, RunRecord
from harness.report.names import model_names, settings_note
from harness.report.table import Table, markdown
from harness.types import Metric

COVERS: Mapping[str, str] = {
    "ece": "ECE's interval is for the expected calibration error in these 15 bins over all such images, whose estimate "
    "here is biased upwards; it begins at 0 unless calibration is rejected at 2.5 %.",
    "nll": "NLL's interval allows for unseen images with a loss of 10 nats, or of twice the worst one seen.",
}
"""By metric, a sentence for the captions of tables whose intervals cover something else than sampling of images."""

LeaveOut = Callable[[HarnessError], None]
"""Called with the reason why a file is left out; raises it, or returns to go on without the file."""


def raise_error(reason: HarnessError) -> None:
    """The strict `LeaveOut`: no file may be left out."""
    raise reason


def readable(files: Iterable[Path], leave_out: LeaveOut = raise_error) -> Iterator[RunRecord]:
    """The records in some files. leave_out: called for each file that is no record."""
    for file in files:
        try:
            yield record.load(file)
        except HarnessError as reason:
            leave_out(reason)


def find(root: Path, leave_out: LeaveOut = raise_error) -> list[RunRecord]:
    """All records below a results folder; of several with one key the shipped one, or the newest with a checksum."""
    files = sorted(p for p in root.rglob("*.json") if not {"published", ".parts"} & set(p.relative_to(root).parts))

    def precedence(entry: RunRecord) -> tuple[bool, bool, str]:
        return bool(entry.path and not is_local(entry.path, root)), bool(entry.sha256), entry.created

    return list({entry.key: entry for entry in sorted(readable(files, leave_out), key=precedence)}.values())


def doubtful(entries: Sequence[RunRecord]) -> str:
    """A warning about the records of a board that have no checksum; empty if all have one."""
    doubts = [(label(entry), entry.doubts) for entry in entries if entry.doubts]
    if not doubts:
        return ""
    renamed = [f"{name}: {', '.join(reasons[1:])}" for name, reasons in doubts if reasons[1:]]
    return (
        f"{title(entries[0])}: {len(doubts)} of {len(entries)} records have no checksum. They are of an older version, "
        "and an edit of them would show only where it contradicts the rest. " + "; ".join(renamed)
    ).rstrip()


def is_local(file: Path, root: Path) -> bool:
    """True for the user's own records, below ``local/``; False for those that ship with the project."""
    return "local" in file.relative_to(root).parts


def boards(records: Iterable[RunRecord]) -> dict[tuple[str, ...], list[RunRecord]]:
    """Records grouped into leaderboards, each ranked by its first column; whole test sets before subsets."""
    grouped: dict[tuple[str, ...], list[RunRecord]] = {}
    for entry in sorted(records, key=lambda r: (r.suite, r.status, r.board)):
        grouped.setdefault(entry.board, []).append(entry)
    return {board: sorted(entries, key=_rank) for board, entries in grouped.items()}


def _rank(entry: RunRecord) -> tuple[float, str, str]:
    best = entry.metric(*entry.columns[0])
    if best is None:
        return (math.inf, entry.model.name, entry.method)
    return (-best.value if best.higher_is_better else best.value, entry.model.name, entry.method)


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
            _calls(entry.cost),
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
    return Table(title(first), header, rows, " ".join([caption, *sentences, *_notes(entries)]), data=data)


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


def _notes(entries: Sequence[RunRecord]) -> list[str]:
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


def having(records: Iterable[RunRecord], metric: str) -> list[RunRecord]:
    """The records that have a metric of this name, which may be written with spaces; HarnessError if none has."""
    records = list(records)
    scored = [r for r in records if r.metric(metric.replace(" ", "_"))]
    if not scored:
        raise suggest("metric", metric, sorted({m.name for r in records for m in r.metrics}))
    return scored


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


def _calls(cost: Cost) -> str:
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


def variants(entries: Sequence[RunRecord]) -> list[str]:
    """The method of each row as tables name it; rows that would look the same also name the facts that differ."""
    names = [entry.variant for entry in entries]
    rows = [(entry.model.name, name) for entry, name in zip(entries, names, strict=True)]
    for row in {r for r in rows if rows.count(r) > 1}:
        alike = [k for k, r in enumerate(rows) if r == row]
        facts = [_facts(entries[k]) for k in alike]
        different = [key for key in facts[0] if len({f[key] for f in facts}) > 1 and key != "record"] or ["record"]
        for k, fact in zip(alike, facts, strict=True):
            names[k] += f" [{', '.join(f'{key} {fact[key]}' for key in different)}]"
    return names


def _facts(entry: RunRecord) -> dict[str, str]:
    return {
        "weights": entry.model.sha256[:8],
        "denoiser": entry.denoiser.sha256[:8] if entry.denoiser else "none",
        "tile": str(entry.spec.tile),
        "device": entry.spec.device,
        "record": entry.key,
    }


def title(entry: RunRecord) -> str:
    """The title of a board: suite, version, coverage."""
    subset = "" if entry.status == "complete" else " (subset)"
    return f"{record.benchmark(entry.suite)} v{entry.suite_version}, {entry.coverage}{subset}"


def heading(entry: RunRecord, name: str, condition: str, *, bare: bool = False) -> str:
    """A metric's name with its unit, for a column or an axis.

    The condition is named, too, if the board has several and this one is not the mean. bare: never name it.
    """
    metric = entry.metric(name, condition)
    unit = {"fraction": "%", "ratio": "% of reference"}.get(metric.unit, metric.unit) if metric else ""
    several = len({c for _, c in entry.columns}) > 1
    words = [name.replace("_", " ")]
    if several and condition != "mean" and not bare:
        words.append(condition)
    if unit:
        words.append(f"({unit})")
    return " ".join(words)


def spell(metric: Metric | None) -> str:
    """A metric with its interval, fractions and ratios in percent, others in their unit: ``74.3 [72.1, 76.5]``."""
    if metric is None:
        return "undefined"
    low, high = metric.interval
    if metric.unit not in ("fraction", "ratio"):
        return f"{metric.value:.3f} [{low:.3f}, {high:.3f}]"
    return f"{100 * metric.value:.1f} [{100 * low:.1f}, {100 * high:.1f}]"


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


def label(entry: RunRecord) -> str:
    """A record's name for `harness compare`: ``digits/vit:de``."""
    return f"{entry.model.name}:{entry.method}"


def plain(name: str) -> str:
    """A suite's or method's name without settings: ``de+scale`` of ``de:times=0,50+scale:percentile=90``."""
    return "+".join(part.partition(":")[0] for part in re.split(r"\+(?=[A-Za-z])", name))


def is_of(entry: RunRecord, suite: str | None) -> bool:
    """True if a record is of this suite, named with or without settings, or in any spelling of the settings.

    A spelling with settings is made canonical by the suite itself, if its plugin is loaded. None means every suite.
    """
    if suite is None:
        return True
    spellings = {suite}
    if ":" in suite:
        with suppress(HarnessError):
            spellings.add(record.benchmark(plugins.suite.configure(suite).text))
    return not spellings.isdisjoint({entry.suite, record.benchmark(entry.suite), plain(entry.suite)})
