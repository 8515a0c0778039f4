"""What fills the cells of a table that no record measures: commands, and what they cost. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from harness.evaluation.records.record import RunRecord
from harness.report.names import plain
from harness.report.published.mapping import OPTIONS
from harness.report.published.reproduction import Filled

TRAINED = "runs/"
"""Start of the names of classifiers that only training gives."""


@dataclass(frozen=True)
class Missing:
    """Cells that one run fills.

    suite, axis, every, images: see `harness.report.published.mapping.Measurement`.
    models, methods: each of these classifiers lacks all of these methods. numbers: how many numbers the run fills.
    recipes: to train those of the classifiers that no file gives. on_disk: the data come with the project.
    """

    suite: str
    axis: str
    every: int
    images: int
    models: Sequence[str]
    methods: Sequence[str]
    numbers: int
    recipes: Sequence[str] = ()
    on_disk: bool = False

    @property
    def command(self) -> str:
        """The command that fills them; DIR is the folder of the suite's data."""
        words = ["harness", "run", "--suite", self.suite]
        words += [] if self.on_disk else ["--data", "DIR"]
        words += [word for model in self.models for word in ("--model", model)]
        words += [word for method in self.methods for word in (OPTIONS[self.axis], method)]
        words += ["--every", str(self.every)] if self.every > 1 or self.on_disk else []
        return shlex.join(words)


@dataclass(frozen=True)
class CallTotals:
    """Network calls of a run, of single images.

    images: test images, one per sample and condition. denoised: one-step denoisings. guided: steps of adaptation,
    a forward and a backward pass each. classified: of all classifiers together. at_most: upper limits.
    """

    images: int
    denoised: int
    guided: int
    classified: int
    at_most: bool = False

    @property
    def denoiser(self) -> int:
        """All calls of the diffusion model."""
        return self.denoised + self.guided

    def __str__(self) -> str:
        most = "at most " if self.at_most else ""
        kinds = [(self.denoised, "one-step denoisings"), (self.guided, "guided steps (forward and backward)")]
        words = " and ".join(f"{count:,} {kind}" for count, kind in kinds if count)
        return f"{self.images:,} images, {most}{self.classified:,} classifier calls, {words or 'no denoiser call'}"


def missing(cells: Sequence[Filled], on_disk: bool = False) -> list[Missing]:
    """The runs that fill the cells without a record: one per suite and set of methods that classifiers lack.

    on_disk: the data come with the project.
    """
    lacking: dict[tuple[str, str, int, int], dict[str, list[Filled]]] = {}
    for filled in cells:
        if filled.metric is None:
            cell = filled.cell
            key = (cell.suite, cell.axis, cell.every, cell.images)
            lacking.setdefault(key, {}).setdefault(cell.model, []).append(filled)
    runs = []
    for (suite, axis, every, images), by_model in lacking.items():
        alike: dict[tuple[str, ...], list[str]] = {}
        for model, found in by_model.items():
            alike.setdefault(tuple(dict.fromkeys(f.cell.method for f in found)), []).append(model)
        for methods, models in alike.items():
            found = [f for model in models for f in by_model[model]]
            recipes = list(dict.fromkeys(f.cell.recipe for f in found if f.cell.model.startswith(TRAINED)))
            runs.append(
                Missing(suite, axis, every, images, tuple(models), methods, len(found), tuple(recipes), on_disk)
            )
    return runs


def duration(run: Missing, calls: CallTotals, records: Sequence[RunRecord]) -> str:
    """Hours of a run in words, by records of the same suite, whatever their settings; or that none was measured.

    Rests on seconds per denoiser call where the run has such calls, otherwise per image and classifier.
    """
    alike = [r for r in records if plain(r.suite) == plain(run.suite) and r.cost.seconds > 0 and r.cost.images > 0]
    by_denoiser = calls.denoiser > 0
    # Rows that were evaluated together share their seconds and calls.
    costs = {(r.cost.seconds, r.cost.images, r.cost.denoiser_calls, r.cost.pairs): r for r in alike}
    measured = [(cost, r) for cost, r in costs.items() if (cost[2] > 0) == by_denoiser]
    if not measured:
        return "no throughput of this suite is on record; with --dry-run the command measures it on your machine"
    seconds = sum(cost[0] for cost, _ in measured)
    units = sum(cost[2] if by_denoiser else cost[1] * cost[3] for cost, _ in measured)
    hours = seconds / units * (calls.denoiser if by_denoiser else calls.classified) / 3600
    devices = ", ".join(sorted({str(r.environment.get("device", "a device without a name")) for _, r in measured}))
    unit = "denoiser call" if by_denoiser else "image and classifier"
    count = f"{len(measured)} run{'s' if len(measured) > 1 else ''}"
    return (
        f"about {hours:,.1f} hours, at {1000 * seconds / units:.3g} ms per {unit} as in {count} on record ({devices})"
    )
