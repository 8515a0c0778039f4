"""Records to tables and paired tests. Pure: files in, text out, nothing remembered."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from harness import metrics, plugins, record
from harness.record import Cost, Rows, RunRecord
from harness.types import Condition, HarnessError, Metric


@dataclass(frozen=True)
class Table:
    """Something to print: in the terminal by the command line, in a file by `markdown`."""

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str = ""


def find(root: Path) -> list[RunRecord]:
    """Every record below a results folder; of several with one key the shipped one, or the newest."""
    files = sorted(p for p in root.rglob("*.json") if not {"published", ".parts"} & set(p.relative_to(root).parts))
    records = [(file, record.load(file)) for file in files]
    chosen: dict[str, RunRecord] = {}
    for _, found in sorted(records, key=lambda r: (not is_local(r[0], root), r[1].created)):
        chosen[found.key] = found
    return list(chosen.values())


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
        return (np.inf, entry.model.name, entry.method)
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
    own = [f"{label(entry)}: {note}" for entry in entries for note in entry.notes if note not in shared]
    notes = [*sorted(shared), *own]
    facts = "; ".join(f"{name}: {value}" for name, value in sorted(first.facts.items()))
    caption = f"95 % intervals over source images. Data {first.data_sha256[:12]}, seed {first.spec.seed}."
    return Table(title(first), header, rows, " ".join([caption, *([f"{facts}."] if facts else []), *notes]))


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


def heading(entry: RunRecord, name: str, condition: str) -> str:
    """A metric's name with its unit, for a column or an axis; its condition, too, where the board has several."""
    metric = entry.metric(name, condition)
    unit = {"fraction": "%", "ratio": "% of reference"}.get(metric.unit, metric.unit) if metric else ""
    several = len({c for _, c in entry.columns}) > 1
    return " ".join([name.replace("_", " "), *([condition] if several else []), *([f"({unit})"] if unit else [])])


def spell(metric: Metric | None) -> str:
    """A metric with its interval, fractions and ratios in percent, others in their unit: ``74.3 [72.1, 76.5]``."""
    if metric is None:
        return "undefined"
    low, high = metric.interval
    if metric.unit not in ("fraction", "ratio"):
        return f"{metric.value:.3f} [{low:.3f}, {high:.3f}]"
    return f"{100 * metric.value:.1f} [{100 * low:.1f}, {100 * high:.1f}]"


def markdown(table: Table) -> str:
    """A table as GitHub markdown."""
    lines = [f"### {table.title}", "", "| " + " | ".join(table.header) + " |", "|" + " --- |" * len(table.header)]
    lines += ["| " + " | ".join(row) + " |" for row in table.rows]
    return "\n".join([*lines, "", *([table.caption, ""] if table.caption else [])])


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


def published(root: Path) -> list[Table]:
    """The tables that papers printed, each labelled as such."""
    tables = []
    for file in sorted((root / "published").glob("*.json")):
        values: Mapping[str, Any] = json.loads(file.read_text())
        for name, table in values["tables"].items():
            rows = [[key, *(f"{v:.2f}" for v in cells)] for key, cells in table["rows"].items()]
            heading = f"{name} (published: {values['short']}; not measured here)"
            tables.append(Table(heading, [table["of"], *table["columns"]], rows, table.get("note", "")))
    return tables


@dataclass(frozen=True)
class Comparison:
    """Two records on the same samples. Results are B minus A, positive where B is better."""

    a: RunRecord
    b: RunRecord
    per_condition: Mapping[str, metrics.PairedResult]
    mean: metrics.PairedResult
    images: int
    unscored: Sequence[str] = field(default=())


def compare(a: RunRecord, b: RunRecord) -> Comparison:
    """Paired accuracies on the samples that both records have; the mean is over the suite's scored conditions.

    Where these have images of their own, which is known by the ids, it is over all of their images.

    Raises HarnessError when the records are of different suites, data or randomness, or share no sample.
    """
    check_pairable(a, b)
    sides = [_correct(entry) for entry in (a, b)]
    conditions = plugins.suite.configure(a.suite)[1].conditions()
    groups = _together(conditions, sides[0].keys() & sides[1].keys())
    images = {c.name: ids for ids, members in groups for c in members}

    def tables(ids: Sequence[str], members: Sequence[Condition]) -> list[Any]:
        return [np.array([[side[c.name, i] for c in members] for i in ids]) for side in sides]

    shown = [c for c in conditions if c.name in images]
    averaged = [(ids, members) for ids, members in groups if members[0].scored]
    if not averaged:
        raise HarnessError(f"{label(a)} and {label(b)} share no scored condition. Run both on the same subset.")
    per_condition = {
        c.name: metrics.compare_condition(*(table[:, 0] for table in tables(images[c.name], [c]))) for c in shown
    }
    if len(averaged) == 1:
        mean = metrics.compare_clustered(*tables(*averaged[0]))
    else:
        pooled = zip(*(tables(*group) for group in averaged), strict=True)
        mean = metrics.compare_condition(*(np.concatenate([table.ravel() for table in side]) for side in pooled))
    total = len(set().union(*images.values()))
    return Comparison(a, b, per_condition, mean, total, [c.name for c in shown if not c.scored])


def _together(
    conditions: Sequence[Condition], common: Iterable[tuple[str, str]]
) -> list[tuple[list[str], list[Condition]]]:
    """Scored conditions that show the same images, with these; then every other condition with its own.

    An image that one of a group's conditions lacks is left out, as in the records' means. common: the (condition, id)
    of both records.
    """
    seen: dict[str, set[str]] = {}
    for name, sample in common:
        seen.setdefault(name, set()).add(sample)
    groups: list[tuple[set[str], list[Condition]]] = []
    present = [c for c in conditions if c.name in seen]
    for c in (c for c in present if c.scored):
        for ids, members in groups:
            if not ids.isdisjoint(seen[c.name]):
                ids &= seen[c.name]
                members.append(c)
                break
        else:
            groups.append((set(seen[c.name]), [c]))
    groups += [(seen[c.name], [c]) for c in present if not c.scored]
    return [(sorted(ids), members) for ids, members in groups]


def check_pairable(a: RunRecord, b: RunRecord) -> None:
    """Raise HarnessError when two records are of different suites, data or randomness."""
    for what, x, y in [
        ("suite", (a.suite.partition(":")[0], a.suite_version), (b.suite.partition(":")[0], b.suite_version)),
        ("data", a.data_sha256, b.data_sha256),
        ("conditions of", a.facts, b.facts),
        ("seed", a.spec.seed, b.spec.seed),
    ]:
        if x != y:
            raise HarnessError(f"{label(a)} and {label(b)} cannot be paired: their {what} differ ({x} and {y}).")


def common_rows(a: RunRecord, b: RunRecord) -> tuple[Rows, Rows]:
    """The rows of both records under the conditions and of the images that both have, in one order."""
    sides = [entry.rows() for entry in (a, b)]
    places = [{key: k for k, key in enumerate(zip(s["condition"], s["id"], strict=True))} for s in sides]
    common = [key for key in places[0] if key in places[1]]
    if not common:
        raise HarnessError(f"{label(a)} and {label(b)} share no image. Run both on the same subset.")
    picked = [np.array([place[key] for key in common]) for place in places]
    left, right = ({name: values[k] for name, values in s.items()} for s, k in zip(sides, picked, strict=True))
    return left, right


def pair(a: str, b: str, records: Sequence[RunRecord], suite: str | None = None) -> tuple[RunRecord, RunRecord]:
    """The records that two texts on the command line mean: the first two that fit together."""
    left, right = resolve(a, records, suite), resolve(b, records, suite)
    suites = sorted({e.suite.partition(":")[0] for e in left} & {e.suite.partition(":")[0] for e in right})
    if len(suites) > 1:
        raise HarnessError(f"Both were run on {', '.join(suites)}. Say which one you mean: --suite {suites[-1]}")
    for entry in left:
        same = [other for other in right if other.board == entry.board]
        if same:
            return _only(a, [e for e in left if e.board == entry.board]), _only(b, same)
    return left[0], right[0]


def _only(text: str, found: Sequence[RunRecord]) -> RunRecord:
    """The one record that a text means; records that differ in more than the text says are the user's to choose."""
    if len(found) > 1:
        files = "\n  ".join(f"{entry.path}  ({entry.created})" for entry in found)
        raise HarnessError(f"{text!r} means {len(found)} records. Give the file of the one you mean:\n  {files}")
    return found[0]


def _correct(entry: RunRecord) -> dict[tuple[str, str], bool]:
    rows = entry.rows()
    hits = rows["prediction"] == rows["label"]
    return {(c, i): bool(h) for c, i, h in zip(rows["condition"], rows["id"], hits, strict=True)}


def label(entry: RunRecord) -> str:
    """How `compare` names a record: ``digits/vit:de``."""
    return f"{entry.model.name}:{entry.method}"


def comparison_table(result: Comparison) -> Table:
    """A row per condition, the mean last."""

    def row(name: str, r: metrics.PairedResult, p: float) -> list[str]:
        low, high = r.interval
        return [
            name,
            f"{100 * r.difference:+.1f} [{100 * low:+.1f}, {100 * high:+.1f}]",
            str(r.a_only),
            str(r.b_only),
            spell_p(p),
        ]

    rows = [row(name, r, r.p) for name, r in result.per_condition.items()]
    caption = f"{result.images} source images, paired. Positive: B is better. p per condition: exact McNemar."
    caption += coverages(result.a, result.b)
    if len(result.per_condition) > 1:
        rows.append(row("mean", result.mean, result.mean.p))
        caption += (
            " The mean's interval and p take an image under all conditions for one observation (t, sign-flip); "
            f"exact McNemar over all rows, which takes them for independent: p {spell_p(result.mean.p_rows)}."
        )
    header = ["condition", "difference (points)", "only A right", "only B right", "p"]
    return Table(versus(result.a, result.b), header, rows, caption)


def coverages(a: RunRecord, b: RunRecord) -> str:
    """A sentence for a comparison's caption where two records cover different images; it pairs those that both have."""
    if a.coverage == b.coverage:
        return ""
    return f" A covers {a.coverage}, B {b.coverage}: compared on those that both have."


def versus(a: RunRecord, b: RunRecord) -> str:
    """The title of a comparison."""
    return f"B = {label(b)} against A = {label(a)} on {a.suite}"


def spell_p(p: float) -> str:
    """A p-value to four digits."""
    return "< 0.0001" if p < 1e-4 else f"{p:.4f}"


def _plain(name: str) -> str:
    """A suite's or method's name without settings: ``de+scale`` of ``de:times=0,50+scale:percentile=90``."""
    return "+".join(part.partition(":")[0] for part in re.split(r"\+(?=[A-Za-z])", name))


def _canonical(suite: str | None) -> str | None:
    """A suite's name as records have it, if it can be told."""
    try:
        return record.benchmark(plugins.suite.configure(suite)[0]) if suite else None
    except HarnessError:
        return suite


def resolve(text: str, records: Sequence[RunRecord], suite: str | None = None) -> list[RunRecord]:
    """The records that `text` means: a record file, or ``model:method`` among `records`, the whole test set first."""
    if text.endswith(".json") or Path(text).is_file():
        return [record.load(Path(text))]
    model, _, method = text.partition(":")
    method = method or "default"
    names = {None, suite, _canonical(suite)}
    of_suite = [r for r in records if suite is None or names & {r.suite, record.benchmark(r.suite), _plain(r.suite)}]
    exact = [r for r in of_suite if r.model.name == model and r.method == method]
    loose = [r for r in of_suite if r.model.name == model and _plain(r.method) == method and "=tune" not in r.method]
    found = exact or loose
    if not found:
        raise plugins.suggest("record", f"{model}:{method}", sorted({label(r) for r in of_suite}))
    return sorted(found, key=lambda r: (r.status != "complete", r.suite, r.created))
