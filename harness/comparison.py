"""Two records on the same images: paired tests, and their table. Pure, as `harness.leaderboard` is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from harness import leaderboard, metrics, plugins, record
from harness.leaderboard import Table, label, title
from harness.record import RunRecord
from harness.tables import Rows
from harness.types import Condition, HarnessError


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
    tables_of = [entry.rows("prediction") for entry in (a, b)]
    check_whole(a, b, *tables_of)
    sides = [_correct(rows) for rows in tables_of]
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
        ("suites", f"{_name(a)} v{a.suite_version}", f"{_name(b)} v{b.suite_version}"),
        ("data", a.data_sha256[:12], b.data_sha256[:12]),
        ("classes", *(", ".join(entry.classes) if a.classes and b.classes else "" for entry in (a, b))),
        ("conditions", _facts(a), _facts(b)),
        ("seeds", a.spec.seed, b.spec.seed),
    ]:
        if x != y:
            older = " If these are the same files, one record is older than ids of content: make it anew."
            raise HarnessError(
                f"{label(a)} and {label(b)} cannot be paired: their {what} differ ({x} and {y})."
                + (older if what == "data" else "")
            )


def check_whole(a: RunRecord, b: RunRecord, *sides: Rows) -> None:
    """Raise HarnessError where records of whole test sets lack rows: those of a condition, or what the other one has.

    sides: their sample tables.
    """
    found: list[dict[str, set[str]]] = []
    conditions = [c.name for c in plugins.suite.configure(a.suite)[1].conditions()]
    for entry, rows in zip((a, b), sides, strict=True):
        seen = {name: set(rows["id"][rows["condition"] == name]) for name in dict.fromkeys(rows["condition"])}
        alike = record.benchmark(entry.suite) == record.benchmark(a.suite)
        if entry.status == "complete" and alike and (lacking := [name for name in conditions if name not in seen]):
            raise HarnessError(
                f"{label(entry)} is said to be of the whole test set, and its sample table has no row under "
                f"{lacking[0]!r}. It is damaged or edited: run it again."
            )
        found.append(seen)
    if a.status == b.status == "complete":
        for name in found[0].keys() & found[1].keys():
            if odd := found[0][name] ^ found[1][name]:
                raise HarnessError(
                    f"{label(a)} and {label(b)} are said to be of the whole test set, and only one of them has "
                    f"{min(odd)!r} under {name!r}. The other sample table is damaged or edited: run it again."
                )


def _name(entry: RunRecord) -> str:
    return entry.suite.partition(":")[0]


def _facts(entry: RunRecord) -> str:
    return ", ".join(f"{name}: {value}" for name, value in sorted(entry.facts.items())) or "the usual ones"


def common_rows(a: RunRecord, b: RunRecord, *needed: str) -> tuple[Rows, Rows]:
    """The rows of both records under the conditions and of the images that both have, in one order.

    needed: columns that both sample tables must have.
    """
    sides = [entry.rows(*needed) for entry in (a, b)]
    check_whole(a, b, *sides)
    places = [{key: k for k, key in enumerate(zip(s["condition"], s["id"], strict=True))} for s in sides]
    common = [key for key in places[0] if key in places[1]]
    if not common:
        raise HarnessError(f"{label(a)} and {label(b)} share no image. Run both on the same subset.")
    picked = [np.array([place[key] for key in common]) for place in places]
    left, right = ({name: values[k] for name, values in s.items()} for s, k in zip(sides, picked, strict=True))
    return left, right


def _pairable(left: list[RunRecord], right: list[RunRecord]) -> list[list[RunRecord]]:
    """Those on either side that can be paired with one on the other; the first of each where none can."""

    def fits(a: RunRecord, b: RunRecord) -> bool:
        try:
            check_pairable(a, b)
        except HarnessError:
            return False
        return True

    pairs = [(a, b) for a in left for b in right if fits(a, b)] or [(left[0], right[0])]
    return [[e for e in side if any(e is other[k] for other in pairs)] for k, side in enumerate((left, right))]


def pair(a: str, b: str, records: Sequence[RunRecord], suite: str | None = None) -> tuple[RunRecord, RunRecord]:
    """The records that two texts on the command line mean: those of one leaderboard, of whole test sets if there are.

    Raises HarnessError where the texts mean several pairs, or one record twice.
    """
    left, right = resolve(a, records, suite), resolve(b, records, suite)
    suites = sorted({_name(e) for e in left} & {_name(e) for e in right})
    if len(suites) > 1:
        raise HarnessError(f"Both were run on {', '.join(suites)}. Say which one you mean: --suite {suites[-1]}")
    left, right = ([e for e in side if _name(e) in suites] or side for side in (left, right))
    both = {e.board for e in left} & {e.board for e in right}
    whole = {e.board for e in left if e.status == "complete"} & both or both
    if whole:
        found = [[e for e in side if e.board in whole] for side in (left, right)]
    else:
        found = [[e for e in side if e.status == "complete"] or side for side in _pairable(left, right)]
    for text, side in zip((a, b), found, strict=True):
        if len(side) > 1:
            files = "\n  ".join(f"{e.path}  ({title(e)}; {e.created})" for e in side)
            raise HarnessError(f"{text!r} means {len(side)} records. Give the file of the one you mean:\n  {files}")
    (one,), (other,) = found
    if one.path and other.path and one.path.resolve() == other.path.resolve():
        raise HarnessError(f"{a!r} and {b!r} are one and the same record. Compare two.")
    return one, other


def _correct(rows: Rows) -> dict[tuple[str, str], bool]:
    hits = rows["prediction"] == rows["label"]
    return {(c, i): bool(h) for c, i, h in zip(rows["condition"], rows["id"], hits, strict=True)}


def table(result: Comparison) -> Table:
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

    adjusted = metrics.holm([r.p for r in result.per_condition.values()])
    rows = [row(name, r, p) for (name, r), p in zip(result.per_condition.items(), adjusted, strict=True)]
    caption = f"{result.images} source images, paired. Positive: B is better. p per condition: exact McNemar"
    caption += several(len(rows)) + coverages(result.a, result.b)
    if len(rows) > 1:
        rows.append(row("mean", result.mean, result.mean.p))
        caption += (
            " The mean's interval and p, not adjusted, take an image under all conditions for one observation; p tests "
            "whether both have equal means over all such images."
        )
    header = ["condition", "difference (points)", "only A right", "only B right", "p"]
    return Table(versus(result.a, result.b), header, rows, caption)


def several(tests: int) -> str:
    """The end of a sentence on the p-values of a table: how they and the intervals take their number into account."""
    return f", adjusted for {tests} tests (Holm); each interval is 95 % on its own." if tests > 1 else "."


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


def resolve(text: str, records: Sequence[RunRecord], suite: str | None = None) -> list[RunRecord]:
    """The records that `text` means: a record file, or ``model:method`` among `records`, the whole test set first."""
    if text.endswith(".json") or Path(text).is_file():
        return [record.load(Path(text))]
    model, _, method = text.partition(":")
    method = method or "default"
    related = [r for r in records if leaderboard.is_of(r, suite)]
    of_suite = [r for r in related if suite == record.benchmark(r.suite)] or related
    exact = [r for r in of_suite if r.model.name == model and r.method == method]
    loose = [
        r
        for r in of_suite
        if r.model.name == model and leaderboard.plain(r.method) == method and "=tune" not in r.method
    ]
    found = exact or loose
    if not found:
        raise plugins.suggest("record", f"{model}:{method}", sorted({label(r) for r in of_suite}))
    return sorted(found, key=lambda r: (r.status != "complete", r.suite, r.created))
