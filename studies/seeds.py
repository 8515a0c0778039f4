"""Studies over training seeds: a CSV file that ships with a row per training, and tables with intervals over trainings.

ten_classifiers.py and guidance.py compare ways of training: each declares a `Study` and gets its command line from it.

    train [--seeds 0,1,2]   # trains the missing classifiers, into runs/NAME
    score                   # evaluates the finished trainings, for results/NAME.csv
    table                   # compares over seeds, from that file alone

A finished training is not repeated, and a stopped one resumes. Start `train` once per core, with OMP_NUM_THREADS=1:
each process takes the next trainings that no other process runs.
"""

from __future__ import annotations

import argparse
import csv
import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from filelock import FileLock, Timeout

from harness import plugins
from harness.analysis.features import AnalyseSpec, analyse
from harness.evaluation import loop
from harness.evaluation.prepare import prepare
from harness.evaluation.records import record
from harness.metrics.intervals import TINY, of_trainings
from harness.report.table import Table, markdown
from harness.terminal import console
from harness.types import HarnessError, Metric, RunSpec

RESULTS = Path(__file__).parents[1] / "results"
FACTS = ["classifier", "seed", "sha256", "seconds"]


@dataclass(frozen=True)
class Cell:
    """A column of the tables: a metric of a suite, under a method, on every k-th image.

    method: on the axis of the suite: a test-time method, an attack or a detector.
    factor: what the table shows is the value times this, percent unless given; digits: behind its point.
    analysis: instead of a run, one of `harness analyse features` on the data set that has the suite's name.
    """

    name: str
    suite: str
    method: str = "default"
    every: int = 1
    metric: tuple[str, str] = ("accuracy", "clean")
    denoiser: str | None = None
    factor: float = 100.0
    digits: int = 1
    analysis: str = ""

    @property
    def run(self) -> tuple[str, str, int, str | None]:
        """Key of the record: cells with the same key come from one record."""
        return self.suite, self.method, self.every, self.denoiser


@dataclass(frozen=True)
class Study:
    """Ways of training, and the comparisons between them.

    chains: names and options of `harness train`; each training of a chain starts from the one before, NAME-{seed}.
    pairs: (before, after) to compare. equal: by name, pairs whose mean difference is one more row.
    unit, difference: what the numbers of the two tables are.
    """

    name: str
    title: str
    question: str
    chains: Sequence[Sequence[tuple[str, Sequence[str]]]]
    cells: Sequence[Cell]
    pairs: Sequence[tuple[str, str]]
    equal: Mapping[str, Sequence[tuple[str, str]]] = field(default_factory=dict)
    unit: str = "Percent"
    difference: str = "Points"

    @property
    def table_file(self) -> Path:
        """The CSV file that ships, a row per training."""
        return RESULTS / f"{self.name}.csv"

    @property
    def names(self) -> list[str]:
        """Names of all ways of training."""
        return [name for chain in self.chains for name, _ in chain]

    @property
    def columns(self) -> list[str]:
        """Names of the cells."""
        return [cell.name for cell in self.cells]

    def train(self, out: Path, seeds: Sequence[int]) -> None:
        """Train the missing classifiers that no other process is training."""
        out.mkdir(parents=True, exist_ok=True)
        for seed in seeds:
            for chain in self.chains:
                with suppress(Timeout), FileLock(out / f".{chain[0][0]}-{seed}.lock", timeout=0):
                    for name, options in chain:
                        _train(out, f"{name}-{seed}", [text.format(seed=seed) for text in options], seed)

    def finished(self, out: Path, seeds: Sequence[int]) -> Iterator[tuple[str, int, Path]]:
        """Name, seed and folder of each finished training."""
        for seed in seeds:
            for name in self.names:
                folder = out / f"{name}-{seed}"
                if (folder / "card.json").is_file():
                    yield name, seed, folder

    def score(self, out: Path, seeds: Sequence[int]) -> None:
        """Add the finished trainings to the file that ships, with a fraction for each cell."""
        earlier = self.read() if self.table_file.is_file() else []
        rows_by_folder: dict[str, dict[str, str]] = {}
        for name, seed, folder in self.finished(out, seeds):
            card = json.loads((folder / "card.json").read_text())
            facts = (name, str(seed), card["sha256"], str(card["seconds"]))
            rows_by_folder[str(folder)] = dict(zip(FACTS, facts, strict=True))
        if not rows_by_folder:  # a run without names would be of the bundled classifiers
            raise HarnessError(f"Nothing is trained in {out} yet. Train first, or give the folder with --out.")
        for suite, method, every, denoiser in dict.fromkeys(cell.run for cell in self.cells if not cell.analysis):
            spec = RunSpec(suite, tuple(rows_by_folder), (method,), denoiser=denoiser, every=every)
            cells = [c for c in self.cells if not c.analysis and c.run == (suite, method, every, denoiser)]
            for path in loop.run(prepare(spec, out / "results")):
                entry = record.load(path)
                _fill(rows_by_folder[entry.model.name], cells, entry.metrics)
        for dataset in dict.fromkeys(cell.suite for cell in self.cells if cell.analysis):
            cells = [c for c in self.cells if c.analysis and c.suite == dataset]
            analyses = tuple(dict.fromkeys(c.analysis for c in cells))
            for model in analyse(AnalyseSpec(tuple(rows_by_folder), dataset, analyses=analyses)).models:
                _fill(rows_by_folder[model.name], cells, model.metrics)
        rows = {_key(row): row for row in [*earlier, *rows_by_folder.values()]}
        with self.table_file.open("w", newline="") as file:
            writer = csv.DictWriter(file, [*FACTS, *self.columns], lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows[key] for key in sorted(rows))

    def read(self, file: Path | None = None) -> list[dict[str, str]]:
        """The rows of the file that ships, or of another; raises HarnessError where they are not of this study."""
        path = file or self.table_file
        header = [*FACTS, *self.columns]
        with path.open(newline="") as opened:
            reader = csv.DictReader(opened)
            if reader.fieldnames != header:
                raise HarnessError(f"{path} has other columns than {', '.join(header)}. Move it away and score again.")
            rows = list(reader)
        for number, row in enumerate(rows, 2):
            complete = row["classifier"] in self.names and row.keys() == set(header)
            if not complete or not all(_is_number(row[column]) for column in ("seed", "seconds", *self.columns)):
                raise HarnessError(
                    f"{path}, line {number}: not a classifier of this study, or a cell too few. Remove the line."
                )
        if len({_key(row) for row in rows}) < len(rows):
            raise HarnessError(f"{path} has a training twice. Remove a line.")
        return rows

    def tables(self, rows: Sequence[Mapping[str, str]]) -> list[Table]:
        """Every classifier's accuracy over seeds, and the differences, paired by seed."""
        values: dict[str, dict[str, np.ndarray]] = {name: {} for name in self.names}
        for row in rows:
            shown = [cell.factor * float(row[cell.name]) for cell in self.cells]
            values[row["classifier"]][row["seed"]] = np.array(shown)
        means = [[name, *self._spell_row(list(by.values()), bounded=True)] for name, by in values.items()]
        hours = sum(float(row["seconds"]) for row in rows) / 3600
        work = f"{len(rows)} trainings, {hours:.1f} hours of one core."
        caption = f"{self.unit}, with a 95 % t interval over trainings. {work}"
        gains = {f"{after} against {before}": _paired(values[before], values[after]) for before, after in self.pairs}
        for name, pairs in self.equal.items():
            each = [_paired(values[before], values[after]) for before, after in pairs]
            shared = sorted(set.intersection(*map(set, each)))
            gains[name] = {seed: np.mean([by[seed] for by in each], axis=0) for seed in shared}
        differences = [[pair, *self._spell_row(list(by.values()), "+")] for pair, by in gains.items()]
        note = (
            f"{self.difference}, paired by seed, with a 95 % t interval over trainings, on one and the same test set."
        )
        return [
            Table(self.title, ["classifier", *self.columns, "n"], means, caption),
            Table(self.question, ["pair", *self.columns, "n"], differences, note),
        ]

    def _spell_row(self, values: Sequence[np.ndarray], sign: str = "", bounded: bool = False) -> list[str]:
        """For each cell the mean over trainings with its t interval, then the number of trainings.

        bounded: the values are no differences, and intervals of percentages stay within 0 and 100.
        """
        if not values:
            return [*([""] * len(self.cells)), "0"]
        columns = zip(self.cells, np.transpose(values), strict=True)
        return [*(_spell(cell, column, sign, bounded) for cell, column in columns), str(len(values))]

    def main(self, about: str, more: Mapping[str, Callable[[Path], None]] | None = None) -> None:
        """Command line. more: further commands, which get the folder of the trainings."""
        more = more or {}
        parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
        parser.add_argument("what", choices=("train", "score", "table", *more))
        parser.add_argument(
            "--out", type=Path, default=Path("runs") / self.name, help=f"folder of the trainings (runs/{self.name})"
        )
        parser.add_argument("--seeds", default="0,1,2", type=_seeds, help="(0,1,2)")
        arguments = parser.parse_args()
        plugins.discover()
        try:
            if arguments.what == "train":
                self.train(arguments.out, arguments.seeds)
            elif arguments.what == "score":
                self.score(arguments.out, arguments.seeds)
            elif arguments.what == "table":
                sys.stdout.write("\n".join(markdown(table) for table in self.tables(self.read())))
            else:
                more[arguments.what](arguments.out)
        except subprocess.CalledProcessError as error:
            sys.exit(error.returncode)  # the training has said why
        except (HarnessError, OSError) as error:
            console.fail(str(error))
            sys.exit(2)


def _train(out: Path, name: str, options: Sequence[str], seed: int) -> None:
    if (out / name / "card.json").is_file():
        return
    architecture = name.partition("+")[0].partition("-")[0]
    command = [sys.executable, "-m", "harness", "train", "--architecture", architecture, *options, "--seed", str(seed)]
    # Cards hold the command: names beside one another say more than this machine's paths.
    subprocess.run([*command, "--device", "cpu", "--out", name], check=True, cwd=out)


def _fill(row: dict[str, str], cells: Sequence[Cell], metrics: Sequence[Metric]) -> None:
    """Write the values of the cells into the row of a training; raises HarnessError for one that there is not."""
    values = {(metric.name, metric.condition): metric.value for metric in metrics}
    for cell in cells:
        if cell.metric not in values:
            raise HarnessError(f"{_key(row)} has no {' of '.join(cell.metric)}, which {cell.name!r} shows.")
        row[cell.name] = str(values[cell.metric])


def _seeds(text: str) -> list[int]:
    return [int(seed) for seed in text.split(",")]


def _is_number(text: str | None) -> bool:
    try:
        return bool(np.isfinite(float(text or "")))
    except ValueError:
        return False


def _key(row: Mapping[str, str]) -> str:
    return f"{row['classifier']}-{row['seed']}"


def _paired(before: Mapping[str, np.ndarray], after: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {seed: after[seed] - before[seed] for seed in before if seed in after}


def _spell(cell: Cell, values: np.ndarray, sign: str, bounded: bool) -> str:
    mean, n, form = values.mean(), len(values), f".{cell.digits}f"
    if n < 2 or np.ptp(values) < TINY:
        return f"{mean:{sign}{form}}"
    if cell.factor != 100:
        low, high = of_trainings(values, -np.inf, np.inf)
    else:
        low, high = of_trainings(values, 0.0 if bounded else -100.0, 100.0)
    return f"{mean:{sign}{form}} [{low:{form}}, {high:{form}}]"
