"""Tables and figures of attacked classifiers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from harness.evaluation.records.keys import benchmark
from harness.evaluation.records.record import RunRecord
from harness.metrics import intervals
from harness.metrics.paired import PairedResult, compare_clustered
from harness.report import comparison
from harness.report.figures import draw as figures
from harness.report.names import flags_of, title, variants
from harness.report.selection import check_pairable
from harness.report.table import Table
from harness.suites.bases.adversarial.measures import Threats, levels
from harness.types import Condition, HarnessError

COLUMNS = ("fallen", "attacks", "distance")
"""Columns that robust accuracy is computed from."""


def compared(a: RunRecord, b: RunRecord, conditions: Sequence[Condition]) -> Table:
    """Paired differences of robust accuracy, B minus A, at each eps and on average over these.

    Raises HarnessError for records of other threat models.
    """
    check_pairable(a, b)
    if benchmark(a.suite) != benchmark(b.suite):
        raise HarnessError(
            f"{a.suite} and {b.suite} are other threat models, which do not compare: run both at the same norm and eps."
        )
    rows_a, rows_b = comparison.common_rows(a, b, *COLUMNS)
    names = [condition.name for condition in conditions]
    by_name_a, by_name_b = dict(levels(rows_a, names)), dict(levels(rows_b, names))
    shared = [condition for condition in conditions if condition.name in by_name_a and condition.name in by_name_b]
    robust_a, robust_b = ({c.name: level[c.name].final for c in shared} for level in (by_name_a, by_name_b))
    results = {c.name: paired(robust_a[c.name][:, None], robust_b[c.name][:, None]) for c in shared}
    # Rows come image by image in one order under every condition, unless an image could not be read under one.
    whole = len({len(values) for values in robust_a.values()}) == 1
    mean = results[shared[-1].name]
    if whole and len(shared) > 1:
        mean = paired(*(np.column_stack(list(robust.values())) for robust in (robust_a, robust_b)))
    images = max(len(values) for values in robust_a.values())
    table = comparison.table(comparison.Comparison(a, b, results, mean, images))
    attacks = [entry.method.rpartition("+")[2] for entry in (a, b)]
    other = f" The attacks differ: {attacks[0]} on A, {attacks[1]} on B." if attacks[0] != attacks[1] else ""
    doubts = [
        f"{side} is flagged: {note}" for side, entry in zip("AB", (a, b), strict=True) for note in flags_of(entry)
    ]
    return replace(table, caption=" ".join([f"Robust accuracy. {table.caption}{other}", *doubts]))


def paired(a: Any, b: Any) -> PairedResult:
    """Two classifiers on the same images at the same eps. a, b: (n, C) shares of right answers."""
    if not ((a == a.round()).all() and (b == b.round()).all()):
        differences = b.mean(axis=1) - a.mean(axis=1)
        return PairedResult(
            difference=float(differences.mean()),
            interval=intervals.of_mean(differences, -1.0, 1.0),
            n=len(a),
            a_only=int((a > b).sum()),
            b_only=int((b > a).sum()),
            p=intervals.p_value(differences, -1.0, 1.0),
            p_rows=None,
        )
    return compare_clustered(a == 1, b == 1)


def drawn(entries: Sequence[RunRecord], threats: Threats) -> Any:
    """Robust accuracy by eps, a line per classifier and a panel per method and attack; at one eps dots."""
    if len(threats) == 1:
        return figures.ranking(entries)
    points: dict[tuple[str, str], list[tuple[float, float, float, float]]] = {}
    for entry, method in zip(entries, variants(entries), strict=True):
        found = [(threat.eps, entry.metric("robust_accuracy", name)) for name, threat in threats.items()]
        clean = entry.metric("accuracy", "clean")
        line = [(eps, m.value, *m.interval) for eps, m in [(0.0, clean), *found] if m]
        points[entry.model.name, method] = [(x, 100 * y, 100 * low, 100 * high) for x, y, low, high in line]
    norm = next(iter(threats.values())).norm
    return figures.lines(points, f"eps ({norm})", "robust accuracy (%)", title(entries[0]))
