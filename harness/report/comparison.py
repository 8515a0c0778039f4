"""Comparison of two records on the same images: paired tests, and their table. Pure: files in, text out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from harness import plugins
from harness.base.errors import HarnessError
from harness.evaluation.records import keys
from harness.evaluation.records.record import RunRecord
from harness.evaluation.records.rows import Rows
from harness.metrics.intervals import Bools
from harness.metrics.paired import PairedResult, compare_clustered, compare_condition, holm
from harness.report.names import label
from harness.report.selection import check_pairable
from harness.report.table import Table
from harness.types import Condition

Answers = Mapping[tuple[str, str], bool]
"""By condition and sample id, whether a record's prediction is right."""


@dataclass(frozen=True)
class Comparison:
    """Two records on the same samples. Results are B minus A, positive where B is better.

    per_condition: by the condition's name, in the suite's order. mean: over the scored conditions.
    images: number of source images. unscored: names of the conditions outside of the mean.
    """

    a: RunRecord
    b: RunRecord
    per_condition: Mapping[str, PairedResult]
    mean: PairedResult
    images: int
    unscored: Sequence[str] = field(default=())


@dataclass(frozen=True)
class SharedGroup:
    """Conditions that show the same images.

    ids: (n,) images that both records have under all of these conditions, sorted.
    conditions: in the suite's order; all scored, or a single one that is not.
    """

    ids: tuple[str, ...]
    conditions: tuple[Condition, ...]

    @property
    def scored(self) -> bool:
        """True if the suite's mean takes these conditions in."""
        return self.conditions[0].scored

    def table(self, answers: Answers) -> Bools:
        """A record's answers as (n images, n conditions) bool."""
        return np.array([[answers[c.name, image] for c in self.conditions] for image in self.ids])


def compare(a: RunRecord, b: RunRecord) -> Comparison:
    """Paired accuracies on the samples that both records have; the mean is over the suite's scored conditions.

    If conditions show different images, as the ids say, the mean pools all of these images.

    Raises HarnessError when the records are of different suites, data or randomness, or share no sample.
    """
    check_pairable(a, b)
    rows_a, rows_b = a.rows("prediction"), b.rows("prediction")
    check_whole(a, b, rows_a, rows_b)
    answers_a, answers_b = _answers(rows_a), _answers(rows_b)
    conditions = plugins.suite.configure(a.suite).plugin.conditions()
    groups = shared_groups(conditions, answers_a.keys() & answers_b.keys())
    results: dict[str, PairedResult] = {}
    scored_a: list[Bools] = []
    scored_b: list[Bools] = []
    for group in groups:
        table_a, table_b = group.table(answers_a), group.table(answers_b)
        for column, condition in enumerate(group.conditions):
            results[condition.name] = compare_condition(table_a[:, column], table_b[:, column])
        if group.scored:
            scored_a.append(table_a)
            scored_b.append(table_b)
    if not scored_a:
        raise HarnessError(f"{label(a)} and {label(b)} share no scored condition. Run both on the same subset.")
    shown = [c for c in conditions if c.name in results]
    return Comparison(
        a,
        b,
        per_condition={c.name: results[c.name] for c in shown},
        mean=_mean(scored_a, scored_b),
        images=len({image for group in groups for image in group.ids}),
        unscored=[c.name for c in shown if not c.scored],
    )


def _mean(scored_a: Sequence[Bools], scored_b: Sequence[Bools]) -> PairedResult:
    """The mean of one group, clustered by image; of several groups, which share no image, over all their answers."""
    if len(scored_a) == 1:
        return compare_clustered(scored_a[0], scored_b[0])
    pooled_a, pooled_b = (np.concatenate([table.ravel() for table in side]) for side in (scored_a, scored_b))
    return compare_condition(pooled_a, pooled_b)


def shared_groups(conditions: Sequence[Condition], common: Iterable[tuple[str, str]]) -> list[SharedGroup]:
    """Scored conditions grouped by the images that they show, then every other condition as a group by itself.

    An image that one of a group's conditions lacks is left out, as in the records' means.

    common: the (condition, id) that both records have.
    """
    images: dict[str, set[str]] = {}
    for name, image in common:
        images.setdefault(name, set()).add(image)
    present = [c for c in conditions if c.name in images]
    groups: list[tuple[set[str], list[Condition]]] = []
    for condition in (c for c in present if c.scored):
        images_here = images[condition.name]
        for ids, members in groups:
            if not ids.isdisjoint(images_here):
                ids &= images_here
                members.append(condition)
                break
        else:
            groups.append((set(images_here), [condition]))
    groups += [(images[c.name], [c]) for c in present if not c.scored]
    return [SharedGroup(tuple(sorted(ids)), tuple(members)) for ids, members in groups]


def check_whole(a: RunRecord, b: RunRecord, rows_a: Rows, rows_b: Rows) -> None:
    """Check the sample tables of records of whole test sets: no condition may lack, and both have the same images.

    Raises HarnessError, which names the record and the first condition or image that is missing.
    """
    images_a, images_b = _images(rows_a), _images(rows_b)
    conditions = [c.name for c in plugins.suite.configure(a.suite).plugin.conditions()]
    for entry, images in ((a, images_a), (b, images_b)):
        same_suite = keys.benchmark(entry.suite) == keys.benchmark(a.suite)
        missing = [name for name in conditions if name not in images]
        if entry.status == "complete" and same_suite and missing:
            raise HarnessError(
                f"{label(entry)} is said to be of the whole test set, and its sample table has no row under "
                f"{missing[0]!r}. It is damaged or edited: run it again."
            )
    if not a.status == b.status == "complete":
        return
    for name in images_a.keys() & images_b.keys():
        if odd := images_a[name] ^ images_b[name]:
            raise HarnessError(
                f"{label(a)} and {label(b)} are said to be of the whole test set, and only one of them has "
                f"{min(odd)!r} under {name!r}. The other sample table is damaged or edited: run it again."
            )


def _images(rows: Rows) -> dict[str, set[str]]:
    """By condition, the ids of its images."""
    return {name: set(rows["id"][rows["condition"] == name]) for name in dict.fromkeys(rows["condition"])}


def common_rows(a: RunRecord, b: RunRecord, *needed: str) -> tuple[Rows, Rows]:
    """The rows of both records that have the same condition and image, in one order.

    needed: columns that both sample tables must have.
    """
    rows_a, rows_b = a.rows(*needed), b.rows(*needed)
    check_whole(a, b, rows_a, rows_b)
    places_a, places_b = _places(rows_a), _places(rows_b)
    common = [key for key in places_a if key in places_b]
    if not common:
        raise HarnessError(f"{label(a)} and {label(b)} share no image. Run both on the same subset.")
    return _at(rows_a, [places_a[key] for key in common]), _at(rows_b, [places_b[key] for key in common])


def _places(rows: Rows) -> dict[tuple[str, str], int]:
    """By condition and id, the number of the row."""
    return {key: k for k, key in enumerate(zip(rows["condition"], rows["id"], strict=True))}


def _at(rows: Rows, places: Sequence[int]) -> Rows:
    index: Any = np.array(places)
    return {name: values[index] for name, values in rows.items()}


def _answers(rows: Rows) -> dict[tuple[str, str], bool]:
    hits = rows["prediction"] == rows["label"]
    return {(c, i): bool(h) for c, i, h in zip(rows["condition"], rows["id"], hits, strict=True)}


def table(result: Comparison) -> Table:
    """A comparison as a table: a row per condition, the mean last."""
    adjusted = holm([r.p for r in result.per_condition.values()])
    data = [_numbers(name, r, p) for (name, r), p in zip(result.per_condition.items(), adjusted, strict=True)]
    caption = f"{result.images} source images, paired. Positive: B is better. p per condition: exact McNemar"
    caption += several(len(data)) + coverages(result.a, result.b)
    if len(data) > 1:
        data.append(_numbers("mean", result.mean, result.mean.p))
        caption += (
            " The mean's interval and p, not adjusted, take an image under all conditions for one observation; p tests "
            "whether both have equal means over all such images."
        )
    header = ["condition", "difference (points)", "only A right", "only B right", "p"]
    return Table(versus(result.a, result.b), header, [_row(numbers) for numbers in data], caption, data=data)


def _numbers(name: str, result: PairedResult, p: float) -> dict[str, Any]:
    """One row of `table`, unrounded, differences as fractions. p: the p-value to print, adjusted or not."""
    low, high = map(float, result.interval)
    counts = {"only_a_right": int(result.a_only), "only_b_right": int(result.b_only), "n": int(result.n)}
    return {
        "condition": name,
        "difference": float(result.difference),
        "low": low,
        "high": high,
        **counts,
        "p": float(p),
    }


def _row(numbers: Mapping[str, Any]) -> list[str]:
    """The texts of one row."""
    counts = [str(numbers["only_a_right"]), str(numbers["only_b_right"])]
    return [numbers["condition"], spell_difference(numbers, 1), *counts, spell_p(numbers["p"])]


def spell_difference(numbers: Mapping[str, Any], digits: int) -> str:
    """A difference with its interval in points: ``+1.2 [-0.3, +2.7]``. numbers: a row with these as fractions."""
    value, low, high = (f"{100 * numbers[end]:+.{digits}f}" for end in ("difference", "low", "high"))
    return f"{value} [{low}, {high}]"


def several(tests: int) -> str:
    """The end of a sentence on a table's p-values: how these and the intervals account for the number of tests."""
    return f", adjusted for {tests} tests (Holm); each interval is 95 % on its own." if tests > 1 else "."


def coverages(a: RunRecord, b: RunRecord) -> str:
    """A sentence for the caption of a comparison whose records cover different images; empty if they cover the same."""
    if a.coverage == b.coverage:
        return ""
    return f" A covers {a.coverage}, B {b.coverage}: compared on those that both have."


def versus(a: RunRecord, b: RunRecord) -> str:
    """The title of a comparison."""
    return f"B = {label(b)} against A = {label(a)} on {a.suite}"


def spell_p(p: float) -> str:
    """A p-value with four decimals."""
    return "< 0.0001" if p < 1e-4 else f"{p:.4f}"
