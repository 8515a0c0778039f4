"""Records to tables. Pure: files in, text out, nothing remembered."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness import escape, metrics, plugins, record
from harness.checked import Reader
from harness.files import parse_json, read_limited
from harness.record import Cost, RunRecord
from harness.types import HarnessError, Metric


@dataclass(frozen=True)
class Table:
    """Something to print: in the terminal by the command line, in a file by `markdown`; both escape what it says.

    multiline: cells have several lines on purpose; otherwise a line break is one more character to escape.
    """

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str = ""
    multiline: bool = False


LeaveOut = Callable[[HarnessError], None]
"""Is told why a file is left out, and raises or goes on."""


def _raise(reason: HarnessError) -> None:
    raise reason


def readable(files: Iterable[Path], leave_out: LeaveOut = _raise) -> Iterator[RunRecord]:
    """The records that these files are; what becomes of a file that is none decides `leave_out`."""
    for file in files:
        try:
            yield record.load(file)
        except HarnessError as reason:
            leave_out(reason)


def find(root: Path, leave_out: LeaveOut = _raise) -> list[RunRecord]:
    """Every record below a results folder; of several with one key the shipped one, or the newest with a checksum."""
    files = sorted(p for p in root.rglob("*.json") if not {"published", ".parts"} & set(p.relative_to(root).parts))

    def precedence(entry: RunRecord) -> tuple[bool, bool, str]:
        return bool(entry.path and not is_local(entry.path, root)), bool(entry.sha256), entry.created

    return list({entry.key: entry for entry in sorted(readable(files, leave_out), key=precedence)}.values())


def doubtful(entries: Sequence[RunRecord]) -> str:
    """A sentence on the rows of a board whose records are less sure than others; empty where all are sure."""
    doubts = [(label(entry), entry.doubts) for entry in entries if entry.doubts]
    renamed = [f"{name}: {', '.join(told[1:])}" for name, told in doubts if told[1:]]
    if not doubts:
        return ""
    return (
        f"{title(entries[0])}: {len(doubts)} of {len(entries)} records have no checksum. They are of an older version, "
        "and an edit of them would show only where it contradicts the rest. " + "; ".join(renamed)
    ).rstrip()


def is_local(file: Path, root: Path) -> bool:
    """Whether a record is the user's own, below ``local/``, rather than one that ships with the project."""
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
            entry.model.name,
            method,
            *(spell(entry.metric(*column)) for column in shown),
            _calls(entry.cost),
        ]
        for place, (entry, method) in enumerate(zip(entries, variants(entries), strict=True), 1)
    ]
    shared = set.intersection(*(set(entry.notes) for entry in entries))
    own: dict[str, list[str]] = {}
    for entry in entries:
        for note in entry.notes:
            own.setdefault(note, []).append(label(entry))
    notes = sorted(shared) + [f"{', '.join(names)}: {note}" for note, names in own.items() if note not in shared]
    facts = "; ".join(f"{name}: {value}" for name, value in sorted(first.facts.items()))
    caption = f"95 % intervals over source images. Data {first.data_sha256[:12]}, seed {first.spec.seed}."
    covers = [sentence for name, sentence in metrics.COVERS.items() if name in {column for column, _ in shown}]
    return Table(title(first), header, rows, " ".join([caption, *covers, *([f"{facts}."] if facts else []), *notes]))


def having(records: Iterable[RunRecord], metric: str) -> list[RunRecord]:
    """The records that have a metric of this name, which may be written with spaces; HarnessError where none has."""
    records = list(records)
    found = [r for r in records if r.metric(metric.replace(" ", "_"))]
    if not found:
        raise plugins.suggest("metric", metric, sorted({m.name for r in records for m in r.metrics}))
    return found


def by_condition(entries: Sequence[RunRecord], metric: str) -> Table:
    """One metric of a leaderboard's records in full: a row per condition, a column per classifier and method."""
    name, first = metric.replace(" ", "_"), entries[0]
    conditions = dict.fromkeys(m.condition for entry in entries for m in entry.metrics if m.name == name)
    of = [f"{entry.model.name}, {method}" for entry, method in zip(entries, variants(entries), strict=True)]
    rows = [[c, *(spell(m) if (m := e.metric(name, c)) else "" for e in entries)] for c in conditions]
    told = heading(first, name, next(iter(conditions)), bare=True)
    covers = [metrics.COVERS[name]] if name in metrics.COVERS else []
    return Table(f"{title(first)}: {told}", ["", *of], rows, " ".join(["95 % intervals.", *covers]))


def _calls(cost: Cost) -> str:
    most = "≤ " if cost.at_most and cost.method_calls_per_image else ""
    return f"{most}{cost.method_calls_per_image} / image"


def crosstab(entries: Sequence[RunRecord]) -> Table:
    """The same leaderboard as classifiers by methods, first column only: the shape of the paper's Table 1."""
    first = entries[0]
    models, names = sorted({e.model.name for e in entries}), variants(entries)
    methods = sorted(set(names), key=lambda name: (name != "default", name))
    cells = {(e.model.name, name): spell(e.metric(*e.columns[0])) for e, name in zip(entries, names, strict=True)}
    rows = [[m, *(cells.get((m, t), "") for t in methods)] for m in models]
    return Table(f"{title(first)}: {heading(first, *first.columns[0])}", ["model", *methods], rows)


def variants(entries: Sequence[RunRecord]) -> list[str]:
    """The methods as a table names them; rows that would look the same also say in what they differ."""
    names = [entry.variant for entry in entries]
    rows = [(entry.model.name, name) for entry, name in zip(entries, names, strict=True)]
    for row in {r for r in rows if rows.count(r) > 1}:
        alike = [k for k, r in enumerate(rows) if r == row]
        facts = [_facts(entries[k]) for k in alike]
        telling = [key for key in facts[0] if len({f[key] for f in facts}) > 1 and key != "record"] or ["record"]
        for k, fact in zip(alike, facts, strict=True):
            names[k] += f" [{', '.join(f'{key} {fact[key]}' for key in telling)}]"
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
    """What a board's rows have in common, in words."""
    subset = "" if entry.status == "complete" else " (subset)"
    return f"{record.benchmark(entry.suite)} v{entry.suite_version}, {entry.coverage}{subset}"


def heading(entry: RunRecord, name: str, condition: str, *, bare: bool = False) -> str:
    """A metric's name with its unit, for a column or an axis; its condition, too, where the board has several
    and it is not the mean. bare: never the condition.
    """
    metric = entry.metric(name, condition)
    unit = {"fraction": "%", "ratio": "% of reference"}.get(metric.unit, metric.unit) if metric else ""
    told = not bare and len({c for _, c in entry.columns}) > 1 and condition != "mean"
    return " ".join([name.replace("_", " "), *([condition] if told else []), *([f"({unit})"] if unit else [])])


def spell(metric: Metric | None) -> str:
    """A metric with its interval, fractions and ratios in percent, others in their unit: ``74.3 [72.1, 76.5]``."""
    if metric is None:
        return "undefined"
    low, high = metric.interval
    if metric.unit not in ("fraction", "ratio"):
        return f"{metric.value:.3f} [{low:.3f}, {high:.3f}]"
    return f"{100 * metric.value:.1f} [{100 * low:.1f}, {100 * high:.1f}]"


def markdown(table: Table) -> str:
    """A table as GitHub markdown; what its cells say is text, never markup."""
    header, *rows = ([escape.markdown(cell) for cell in row] for row in (table.header, *table.rows))
    lines = [f"### {escape.markdown(table.title)}", "", _row(header), "|" + " --- |" * len(header), *map(_row, rows)]
    return "\n".join([*lines, "", *([escape.markdown(table.caption, paragraph=True), ""] if table.caption else [])])


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def page(records: Iterable[RunRecord]) -> str:
    """The whole leaderboard file."""
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


@dataclass(frozen=True)
class PublishedTable:
    """A table that a paper printed. of: what a row is. rows: a number per column, by the row's name."""

    of: str
    columns: Sequence[str]
    rows: Mapping[str, Sequence[float]]
    note: str = ""

    def __post_init__(self) -> None:
        if any(len(cells) != len(self.columns) for cells in self.rows.values()):
            raise HarnessError(f"a row has not {len(self.columns)} numbers, as there are columns")


@dataclass(frozen=True)
class Published:
    """What is shown of a file of published numbers. short: the paper."""

    short: str
    tables: Mapping[str, PublishedTable]


def published(root: Path, leave_out: LeaveOut = _raise) -> list[Table]:
    """The tables that papers printed, each labelled as such."""
    tables = []
    for file in sorted((root / "published").glob("*.json")):
        try:
            paper = _published(file)
        except HarnessError as reason:
            leave_out(reason)
            continue
        for name, table in paper.tables.items():
            rows = [[key, *(f"{v:.2f}" for v in cells)] for key, cells in table.rows.items()]
            heading = f"{name} (published: {paper.short}; not measured here)"
            tables.append(Table(heading, [table.of, *table.columns], rows, table.note))
    return tables


def _published(file: Path) -> Published:
    try:
        found: Published = Reader({}, strict=False)(Published, parse_json(read_limited(file, record.LARGEST)))
    except OSError as error:
        raise HarnessError(f"{file}: {error.strerror}.") from error
    except ValueError as error:
        raise HarnessError(f"{file} holds no published tables ({error}). Restore it, or delete it.") from error
    return found


def label(entry: RunRecord) -> str:
    """How `compare` names a record: ``digits/vit:de``."""
    return f"{entry.model.name}:{entry.method}"


def plain(name: str) -> str:
    """A suite's or method's name without settings: ``de+scale`` of ``de:times=0,50+scale:percentile=90``."""
    return "+".join(part.partition(":")[0] for part in re.split(r"\+(?=[A-Za-z])", name))


def is_of(entry: RunRecord, suite: str | None) -> bool:
    """Whether a record is of a suite as users name it: with or without settings, as tables do, or in any spelling."""
    try:
        told = record.benchmark(plugins.suite.configure(suite)[0]) if suite else None
    except HarnessError:
        told = suite
    return suite is None or bool({suite, told} & {entry.suite, record.benchmark(entry.suite), plain(entry.suite)})
