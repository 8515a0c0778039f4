"""Sources of figures: records of a results folder, data sets and networks, opened when a figure asks for them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from harness.base.errors import Absent, HarnessError, suggest
from harness.report import boards
from harness.report.boards import LeaveOut
from harness.report.filters import RowFilter
from harness.report.selection import is_of

if TYPE_CHECKING:
    from torch import Tensor

    from harness.diffusion.denoiser import Denoiser
    from harness.evaluation.records.record import RunRecord
    from harness.generation.job import Generation
    from harness.models.published.locate import WeightFiles
    from harness.models.tiles import TiledClassifier, Tiles
    from harness.plugins import Entry
    from harness.types import Batch, Dataset

T = TypeVar("T")

TILE = 16
"""Rows per network call: figures show few images."""


@dataclass
class StoredSources:
    """Sources of one figure; see `harness.types.figures.FigureSources`.

    figure: its plugin, whose facts `classifiers` and `denoiser` name the usual networks.
    results: folder with records. models, denoiser_name, data, device_name, weights: as on the command line, empty if
    not given.
    leave_out: called for each file in `results` that is no record.
    """

    figure: Entry
    results: Path
    models: Sequence[str] = ()
    denoiser_name: str = ""
    data: str = ""
    seed: int = 0
    device_name: str = "auto"
    weights: Sequence[str] = ()
    leave_out: LeaveOut = boards.raise_error
    _classifiers: dict[tuple[str, str], TiledClassifier] = field(default_factory=dict, init=False, repr=False)
    _denoisers: dict[tuple[str, str], Denoiser] = field(default_factory=dict, init=False, repr=False)

    @property
    def classifiers(self) -> Sequence[str]:
        """See `FigureSources`."""
        return self.models or tuple(self.figure.facts.get("classifiers", ()))

    @cached_property
    def every(self) -> list[RunRecord]:
        """All records of the results folder; none where there is no folder."""
        return boards.find(self.results, self.leave_out) if self.results.is_dir() else []

    def records(self, suite: str) -> Sequence[RunRecord]:
        """See `FigureSources`."""
        of_suite = [entry for entry in self.every if is_of(entry, suite)]
        if not of_suite:
            raise Absent(
                f"Figure {self.figure.name}: no records of suite {suite!r} in {self.results.absolute()}. Make them: "
                f"harness run --suite {suite}. Or give another folder with --results: the folder results of the "
                "project's repository has records."
            )
        rows = RowFilter(tuple(self.models))
        rows.check(of_suite)
        chosen = [[board[place] for place in rows.places(board)] for board in boards.boards(of_suite).values()]
        return max(chosen, key=_size)

    def sample_table(self, record: RunRecord) -> dict[str, Any]:
        """See `FigureSources`."""
        return record.rows()

    @cached_property
    def device(self) -> str:
        """See `FigureSources`."""
        from harness.api.machine import usable_device

        return usable_device(self.device_name)

    @cached_property
    def tiles(self) -> Tiles:
        """See `FigureSources`."""
        from harness.models.tiles import Tiles

        return Tiles(TILE, self.device)

    @property
    def diffusion(self) -> str:
        """See `FigureSources`."""
        name: str = self.denoiser_name or self.figure.facts.get("denoiser", "")
        if not name:
            raise HarnessError(f"Figure {self.figure.name} needs a diffusion model. Name one with --denoiser.")
        return name

    def denoiser(self, name: str = "", data: Dataset | None = None) -> Denoiser:
        """See `FigureSources`."""
        name = name or self.diffusion
        key = name, data.name if data else ""
        if key not in self._denoisers:
            from harness.diffusion.lookup import conditioned, find_denoiser
            from harness.models.tiles import place

            self._discover([name])
            denoiser, weights = find_denoiser(name, self._weight_files)
            if data and denoiser.conditional:
                denoiser = conditioned(denoiser, name, weights, data, f"Figure {self.figure.name}: denoiser {name}")
            place(denoiser.network, self.device)
            self._denoisers[key] = denoiser
        return self._denoisers[key]

    def classifier(self, name: str, data: Dataset | None = None) -> TiledClassifier:
        """See `FigureSources`."""
        key = name, data.name if data else ""
        if key not in self._classifiers:
            from harness.models import matching
            from harness.models.lookup import find_classifier
            from harness.models.tiles import TiledClassifier

            self._discover([name])
            network, weights = find_classifier(name, self._weight_files)
            if data:
                network = matching.match({"": data}, {name: (network, weights)}).networks[name]
            self._classifiers[key] = TiledClassifier(network, self.tiles)
        return self._classifiers[key]

    def generation(self, guide: str, model: str = "", **settings: Any) -> Generation:
        """See `FigureSources`."""
        from harness.api.generation.generate import prepared, specification

        self._discover([])
        named = {"guide": guide, "model": model, "denoiser": self.diffusion, "data": self.data}
        steps = settings.pop("steps", "")
        machine = {"seed": self.seed, "device": self.device}
        job, _ = prepared(
            specification({**named, **machine, **settings}, "ddim", steps, None, "auto"), self.weights, None
        )
        return job

    def dataset(self, name: str, split: str = "test") -> Dataset:
        """See `FigureSources`."""
        from harness import plugins
        from harness.data import open_dataset

        plugins.discover()
        return open_dataset(name, split, self.data)

    def images(self, ids: Sequence[str], dataset: str = "digits") -> Batch:
        """See `FigureSources`."""
        from harness.api.figures.pictures import files_as_batch

        if all(Path(name).is_file() for name in ids):
            return files_as_batch(ids)
        data = self.dataset(dataset)
        places = {name: place for place, name in enumerate(data.ids)}
        for name in ids:
            if name not in places:
                raise suggest("image", name, list(places), f" of {dataset}, nor a file")
        return data.read([places[name] for name in ids])

    def track(self, steps: Sequence[T], name: str) -> Iterator[T]:
        """See `FigureSources`."""
        from harness.terminal import console

        with console.progress() as bar:
            line = bar.begin(name, len(steps))
            bar.update(line, unit="steps")
            for done, step in enumerate(steps, 1):
                yield step
                bar.update(line, completed=done, computed=done)

    def noise(self, shape: Sequence[int], purpose: str, ids: Sequence[str], step: int = 0) -> Tensor:
        """See `FigureSources`."""
        from harness.evaluation.views.batch import view_noise

        return view_noise(shape, seed=self.seed, purpose=purpose, ids=ids, step=step)

    @cached_property
    def _weight_files(self) -> WeightFiles:
        from harness import plugins
        from harness.api.weight_files import weight_files_of

        plugins.discover()
        return weight_files_of(self.weights)

    def _discover(self, names: Sequence[str]) -> None:
        """Import all plugins, and download the published weights among some networks."""
        from harness import plugins
        from harness.api.weight_files import fetch_missing

        plugins.discover()
        fetch_missing(names, self._weight_files)


def _size(board: Sequence[RunRecord]) -> tuple[bool, int, int]:
    """Whole test sets first, then most images, then most rows."""
    from harness.evaluation.records.rules import covered

    return bool(board) and board[0].status == "complete", covered(board[0].coverage)[0] if board else 0, len(board)
