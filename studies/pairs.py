"""The effect of training with DiffAug: paired tests on the shipped records, for every classifier that has a partner.

    python studies/pairs.py results > results/pairs.md

Each bundled classifier with DiffAug against the one without, on the same images: accuracy under every test-time
method, certified radii, and the AUROC of every detector. p-values are adjusted for their number (Holm); each interval
is 95 % on its own. Each classifier is one training: what another seed would give is in no interval here.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from harness import plugins
from harness.evaluation.records.record import RunRecord
from harness.metrics import certification, intervals
from harness.metrics.paired import holm
from harness.report import boards, comparison, selection
from harness.report.table import Table, markdown
from harness.types import HarnessError

Cells = dict[str, tuple[str, float]]
"""By column a difference with its interval as text, and the p-value of no difference."""

LONGER = (
    "Intervals are over images. With AugMix, DeepAugment and both, +diffaug was trained for a third longer than its "
    "partner: zoo.md has the controls."
)


def tables(root: Path) -> list[Table]:
    """The tables under covariate shift, of certificates, and of detectors."""
    plugins.discover()
    entries = [r for r in boards.find(root) if r.path and not boards.is_local(r.path, root)]
    return [
        _wide("accuracy (points)", entries, ("digits", "digits-c"), accuracy, LONGER),
        _wide("average certified radius", entries, ("certify",), radius, f"In l2 units of [0, 1]. {LONGER}"),
        detectors([r for r in entries if selection.is_of(r, "openood-digits")]),
    ]


def accuracy(plain: RunRecord, trained: RunRecord) -> Cells:
    """Difference of mean accuracy, in points."""
    mean = comparison.compare(plain, trained).mean
    text = _spell(2, 100 * mean.difference, *(100 * end for end in mean.interval))
    return {f"{plain.suite}, {plain.variant}": (text, mean.p)}


def radius(plain: RunRecord, trained: RunRecord) -> Cells:
    """Difference of average certified radius at each noise level."""
    before, after = (
        (rows, np.where(certification.right(rows["prediction"], rows["label"]), rows["radius"], 0.0))
        for rows in comparison.common_rows(plain, trained)
    )
    cells = {}
    suite = plugins.suite.configure(plain.suite).plugin
    for sigma, condition in zip(suite.sigma, suite.conditions(), strict=True):
        difference = (after[1] - before[1])[before[0]["condition"] == condition.name]
        largest = certification.largest_radius(suite.n, suite.alpha, sigma)
        ends = intervals.of_mean(difference, -largest, largest)
        p = intervals.p_value(difference, -largest, largest)
        name = f"{plain.suite}, {plain.variant}, {condition.name}"
        cells[name] = (_spell(3, np.mean(difference), *ends), p)
    return cells


def detectors(entries: Sequence[RunRecord]) -> Table:
    """Differences of mean AUROC, near and far, in points."""
    pairs = list(partners(entries))
    differences = [plugins.suite.configure(plain.suite).plugin.paired(plain, trained) for plain, trained in pairs]
    adjusted = iter(holm([results[group].p for results in differences for group in ("near", "far")]))
    rows = []
    for (plain, _), results in zip(pairs, differences, strict=True):
        row = [plain.model.name, plain.variant]
        for group in ("near", "far"):
            ends = (100 * end for end in results[group].interval)
            row += [_spell(2, 100 * results[group].difference, *ends), comparison.spell_p(next(adjusted))]
        rows.append(row)
    header = ["model", "detector", "near: difference (points)", "p", "far: difference (points)", "p"]
    tests = comparison.several(2 * len(rows))
    caption = f"Mean of the data sets; intervals and p by DeLong's paired test{tests} {LONGER}"
    return Table("+DiffAug minus plain: AUROC", header, rows, caption)


def partners(entries: Sequence[RunRecord]) -> Iterator[tuple[RunRecord, RunRecord]]:
    """Records without and with DiffAug that are alike in all else."""
    by_name = {(r.board, r.model.name, r.variant): r for r in entries}
    for (board, model, variant), plain in sorted(by_name.items()):
        if trained := by_name.get((board, f"{model}+diffaug", variant)):
            yield plain, trained


def _wide(
    what: str, entries: Sequence[RunRecord], suites: Sequence[str],
    compare: Callable[[RunRecord, RunRecord], Cells], caption: str,
) -> Table:  # fmt: skip
    """A row per classifier, a column per suite and method or condition."""
    by_model: dict[str, Cells] = {}
    for plain, trained in partners([r for r in entries if any(selection.is_of(r, suite) for suite in suites)]):
        cells = compare(plain, trained)
        here = by_model.setdefault(plain.model.name, {})
        if twice := here.keys() & cells.keys():
            raise HarnessError(
                f"{plain.path}: another record of {plain.model.name} has {', '.join(twice)}, too. Move one away."
            )
        here.update(cells)
    columns = list(dict.fromkeys(name for cells in by_model.values() for name in cells))
    adjusted = iter(holm([p for cells in by_model.values() for _, p in cells.values()]))
    spelt = {
        model: {name: f"{text}, p {comparison.spell_p(next(adjusted))}" for name, (text, _) in cells.items()}
        for model, cells in by_model.items()
    }
    rows = [[model, *(cells.get(name, "") for name in columns)] for model, cells in spelt.items()]
    tests = sum(map(len, spelt.values()))
    caption = f"p of equal means, paired on the same images{comparison.several(tests)} {caption}"
    return Table(f"+DiffAug minus plain: {what}", ["model", *columns], rows, caption)


def _spell(digits: int, value: float, low: float, high: float) -> str:
    return f"{value:+.{digits}f} [{low:+.{digits}f}, {high:+.{digits}f}]"


def main() -> None:
    """Print the tables of a results folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path, help="folder of the records")
    arguments = parser.parse_args()
    sys.stdout.write("\n".join(markdown(table) for table in tables(arguments.results)))


if __name__ == "__main__":
    main()
