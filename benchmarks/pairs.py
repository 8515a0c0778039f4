"""What is training with DiffAug worth? Paired tests on the shipped records, for every classifier that has a partner.

    python benchmarks/pairs.py results > results/pairs.md

Each bundled classifier with DiffAug against the one without, on the same images: accuracy under every test-time
method, certified radii, and the AUROC of every detector. No correction for the number of tests. Each classifier is one
training: what another seed would give is in no interval here.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from scipy import stats

from harness import certification, comparison, leaderboard, plugins
from harness.leaderboard import Table
from harness.record import RunRecord
from harness.types import HarnessError

Cells = dict[str, str]

LONGER = (
    "The interval is over images. With AugMix, DeepAugment and both, +diffaug was trained for a third longer than its "
    "partner: zoo.md has the controls."
)


def tables(root: Path) -> list[Table]:
    """Under covariate shift, for certificates, and for detectors."""
    plugins.discover()
    entries = [r for r in leaderboard.find(root) if r.path and not leaderboard.is_local(r.path, root)]
    return [
        _wide("accuracy (points)", entries, ("digits", "digits-c"), accuracy, LONGER),
        _wide("average certified radius", entries, ("certify",), radius, f"In l2 units of [0, 1]. {LONGER}"),
        detectors([r for r in entries if leaderboard.is_of(r, "openood-digits")]),
    ]


def accuracy(plain: RunRecord, trained: RunRecord) -> Cells:
    """Difference of mean accuracy, in points."""
    mean = comparison.compare(plain, trained).mean
    return {f"{plain.suite}, {plain.variant}": _spell(2, 100 * mean.difference, *(100 * end for end in mean.interval))}


def radius(plain: RunRecord, trained: RunRecord) -> Cells:
    """Difference of average certified radius at each noise level; Student's t over images."""
    before, after = (
        (rows, np.where(certification.right(rows["prediction"], rows["label"]), rows["radius"], 0.0))
        for rows in comparison.common_rows(plain, trained)
    )
    cells = {}
    for condition in plugins.suite.configure(plain.suite)[1].conditions():
        here = before[0]["condition"] == condition.name
        test = stats.ttest_rel(after[1][here], before[1][here])
        ends = test.confidence_interval()
        cells[f"{plain.suite}, {plain.variant}, {condition.name}"] = _spell(
            3, np.mean((after[1] - before[1])[here]), ends.low, ends.high
        )
    return cells


def detectors(entries: Sequence[RunRecord]) -> Table:
    """Differences of mean AUROC, near and far, in points."""
    rows = []
    for plain, trained in partners(entries):
        results = {row[0]: row for row in plugins.suite.configure(plain.suite)[1].compare(plain, trained).rows}
        near, far = results["near"], results["far"]
        rows.append([plain.model.name, plain.variant, near[1], near[3], far[1], far[3]])
    header = ["model", "detector", "near: difference (points)", "p", "far: difference (points)", "p"]
    caption = f"Mean of the data sets; 95 % intervals and p by DeLong's paired test. {LONGER}"
    return Table("+DiffAug minus plain: AUROC", header, rows, caption)


def partners(entries: Sequence[RunRecord]) -> Iterator[tuple[RunRecord, RunRecord]]:
    """Records without and with DiffAug that are alike in all else."""
    found = {(r.board, r.model.name, r.variant): r for r in entries}
    for (board, model, variant), plain in sorted(found.items()):
        if trained := found.get((board, f"{model}+diffaug", variant)):
            yield plain, trained


def _wide(
    what: str, entries: Sequence[RunRecord], suites: Sequence[str],
    compare: Callable[[RunRecord, RunRecord], Cells], caption: str,
) -> Table:  # fmt: skip
    """A row per classifier, a column per suite and method or condition."""
    found: dict[str, Cells] = {}
    for plain, trained in partners([r for r in entries if any(leaderboard.is_of(r, suite) for suite in suites)]):
        cells, here = compare(plain, trained), found.setdefault(plain.model.name, {})
        if twice := here.keys() & cells.keys():
            raise HarnessError(
                f"{plain.path}: another record of {plain.model.name} has {', '.join(twice)}, too. Move one away."
            )
        here.update(cells)
    columns = list(dict.fromkeys(name for cells in found.values() for name in cells))
    rows = [[model, *(cells.get(name, "") for name in columns)] for model, cells in found.items()]
    return Table(f"+DiffAug minus plain: {what}", ["model", *columns], rows, caption)


def _spell(digits: int, value: float, low: float, high: float) -> str:
    return f"{value:+.{digits}f} [{low:+.{digits}f}, {high:+.{digits}f}]"


if __name__ == "__main__":
    sys.stdout.write("\n".join(leaderboard.markdown(table) for table in tables(Path(sys.argv[1]))))
