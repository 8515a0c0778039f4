"""The base of all suites: defaults for every member of `harness.types.Suite` that most suites leave as it is."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from harness.data import Place, Recognised, open_dataset
from harness.evaluation.views.calls import tally
from harness.metrics.intervals import Undefined
from harness.metrics.ranking import Sample
from harness.models.published.locate import WeightFiles
from harness.types import (
    Batch,
    BatchTask,
    Calls,
    Columns,
    Condition,
    Dataset,
    HarnessError,
    Observation,
    Pair,
    Stage,
    SuiteViews,
)


def refuse_denoising(name: str, methods: Sequence[Any]) -> None:
    """Raise HarnessError for methods that denoise, in a suite that denoises the images itself."""
    image = torch.zeros(1, 3, 32, 32)
    if any(tally([method], image, 10).denoiser for method in methods):
        raise HarnessError(f"{name} looks at one-step denoisings itself; leave out --tta.")


def with_weight_files(suite: Any, weight_files: WeightFiles | None) -> Any:
    """A suite, a dataclass, with places of published weights, and without anything that it has loaded."""
    fresh = replace(suite)
    object.__setattr__(fresh, "weight_files", weight_files)  # no setting: places decide no number, and hashes are facts
    return fresh


class SuiteBase:
    """Defaults of a suite; see `harness.types.Suite` for the meaning of each member.

    ``@suite(name, version=, dataset=, denoiser=, every=)`` sets the facts below as class attributes. A subclass adds
    `conditions`, `open`, `columns_of` (or `observe`), `summarise`, `figure` and `compare`.

    size: number of published images per condition; 0 if unknown.
    split: split of `dataset` that `test_images` opens.
    data: folder of `dataset`. A suite that reads a folder declares it as a setting: ``data: str = ""``.
    keeps_logits: its rows can hold logits, see `harness.types.BatchTask.keep_logits`.
    keeps_images: its rows can hold images that it made, see `harness.types.BatchTask.keep_images`.
    tells_class: its views tell the denoiser the class of each image, as guides may.
    precision: relative difference up to which a metric computed from the table once more counts as the record's.
    row_columns: columns that its rows can have beside id, condition, label and prediction; empty: not stated.
    weight_files: places of published weights, for networks that its settings name: see `using`.
    """

    name: ClassVar[str]
    version: ClassVar[int] = 1
    dataset: ClassVar[str]
    denoiser: ClassVar[str | None] = None
    every: ClassVar[int] = 1
    shown: ClassVar[Sequence[tuple[str, str]]] = ()
    axis: ClassVar[str] = "method"
    methods: ClassVar[Sequence[str]] = ("default", "de")
    models: ClassVar[Sequence[str]] = ()
    part: ClassVar[int] = 200
    diffuses: ClassVar[bool] = False
    differentiates: ClassVar[bool] = False
    tells_class: ClassVar[bool] = False
    size: ClassVar[int] = 0
    split: ClassVar[str] = "test"
    data: ClassVar[str] = ""
    keeps_logits: ClassVar[bool] = False
    precision: ClassVar[float] = 1e-9
    keeps_images: ClassVar[bool] = False
    row_columns: ClassVar[Sequence[str]] = ()
    weight_files: ClassVar[WeightFiles | None] = None

    def using(self, weight_files: WeightFiles | None) -> Any:
        """The suite with places of published weights: by default itself, as its settings name no networks."""
        return self

    @classmethod
    def recognise(cls, place: Place) -> Sequence[Recognised]:
        """The suite's data right in a folder, for ``harness run --data DIR`` without ``--suite``: none.

        A suite that gives some runs there by default, so suites that certify and variants of others give none.
        """
        return ()

    def conditions(self) -> Sequence[Condition]:
        """The cells of the benchmark, in the order of its tables."""
        raise NotImplementedError

    def open(self, condition: Condition, seed: int) -> Dataset:
        """The images of one condition."""
        raise NotImplementedError

    def test_images(self) -> Dataset:
        """The test images of the data set as they are stored."""
        return open_dataset(self.dataset, self.split, self.data)

    def facts(self) -> Mapping[str, str]:
        """Nothing beyond the settings."""
        return {}

    def tally(self, methods: Sequence[Any], image: Tensor, classes: int) -> Calls:
        """Network calls of test-time methods, counted by running them on views that only count."""
        return tally(methods, image, classes)

    def calls_of(self, pair: Pair, image: Tensor, classes: int) -> Calls:
        """Network calls of one pair by itself, as of `tally`; of a suite of guides by its classifier, too."""
        return self.tally([pair.method], image, classes)

    def check(self, methods: Sequence[Any], denoiser: Any) -> None:
        """Nothing: a method that cannot run raises its error when it is counted."""

    def misfit(self, pair: Pair, denoiser: Any) -> str:
        """Nothing: every classifier goes with every method."""
        return ""

    def prepare(
        self,
        pairs: Sequence[Pair],
        look: Callable[[Batch], SuiteViews],
        cache: Path,
        report: Callable[[Stage], None],
    ) -> Sequence[Pair]:
        """Nothing to learn."""
        return pairs

    def observe(self, task: BatchTask) -> Iterator[Observation]:
        """Every pair's columns, in one step."""
        yield Observation([self.columns_of(task, pair) for pair in task.pairs])

    def columns_of(self, task: BatchTask, pair: Pair) -> Columns:
        """Columns of the sample table for a batch under one pair."""
        raise NotImplementedError

    def contributions(self, rows: Mapping[str, Any], metric: str, condition: str) -> Sequence[Sample]:
        """What each image contributes to a metric that is a sum of means over images, for rank sets.

        rows: as of `summarise`. Raises `Undefined`, with the reason, for any other metric: by default for all.
        """
        raise Undefined(f"{metric.replace('_', ' ')} is no sum of means over images")

    def row_faults(self, rows: Mapping[str, Any]) -> Iterator[str]:
        """Sentences on columns of a sample table that do not follow from others as they should: none.

        rows: as for `summarise`; somebody may have edited them.
        """
        yield from ()
