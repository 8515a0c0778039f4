"""Flags of a row: signs that its attack, and not its classifier, is what the robust accuracy measures."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, cast

import numpy as np
from torch import Tensor

from harness import plugins
from harness.evaluation.attacked.checking import flags
from harness.evaluation.attacked.flags import LOOKED_AT, SIGNS, Flag, flag_columns, flags_in
from harness.models.tiles import TiledClassifier, Tiles
from harness.report.names import FLAG, MEASURED
from harness.suites.bases.adversarial import cost
from harness.suites.bases.adversarial.attacking import classifier_of, is_plain
from harness.suites.bases.adversarial.cost import Load
from harness.types import (
    Attack,
    Batch,
    Columns,
    Dataset,
    GradientClassifier,
    HarnessError,
    Pair,
    Stage,
    SuiteViews,
    ThreatModel,
)

COLUMNS: Sequence[str] = (*(f"flag_{name}" for name in SIGNS), "flag_n")
"""Columns of the sample table; tables of older versions lack them."""

QUERIES = 200
"""Queries of Square, the black box beside attacks on a classifier as it is."""


@dataclass(frozen=True, eq=False)
class FlaggedMethod:
    """A method and an attack on it, as `harness.plugins.Combination`, with the flags of a classifier under them.

    outer: the method. inner: the attack. pair: the row. data: its images; every: stride through them.
    look, report: see `harness.types.Suite.prepare`; `report` is called while the flags are measured.
    """

    outer: Any
    inner: Any
    pair: Pair
    data: Dataset
    every: int
    threat: ThreatModel
    look: Callable[[Batch], SuiteViews]
    report: Callable[[Stage], None] = lambda stage: None

    @cached_property
    def flags(self) -> Sequence[Flag]:
        """Measured once per process, on the images `looked_at`."""
        batch = self.data.read(looked_at(self.pair, self.data, self.every))
        views, rows = self.look(batch), range(len(batch))

        def noise(purpose: str) -> Tensor:
            return views.attack_noise(f"flags/{purpose}", rows)

        boxes = black_boxes(is_plain(self.outer))
        work = cost.flag_loads(self, boxes, batch.images[:1], self.data.num_classes, self.threat)
        name, total = f"flags of {self.pair.model}, {self.pair.method_name}", len(rows) * self._counted(work)
        done = 0

        def tell(images: int) -> None:
            nonlocal done
            done += images
            self.report(Stage(name, min(done, total), total))

        tell(0)
        attacked = counted(classifier_of(views, self.pair, rows), tell)
        try:
            measured = flags(attacked, batch.images, batch.labels, self.inner, self.threat, noise, boxes)
        except HarnessError as error:
            raise HarnessError(f"The attack {self.pair.method_name} on {self.pair.model}: {error}") from error
        tell(total)  # images that fell needed fewer passes
        return measured

    def _counted(self, work: Sequence[Load]) -> int:
        """Passes per image that `CountedTiles` see at most: gradients, and queries of a classifier as it is."""
        own, *attacks = work
        plain = is_plain(self.outer)
        return own.gradients + sum(load.forward if plain else load.gradients for load in attacks)


class CountedTiles:
    """Tiles of gradients that tell of the images in every call; everything else is that of the tiles."""

    def __init__(self, tiles: Tiles, tell: Callable[[int], None]) -> None:
        self._tiles = tiles
        self._tell = tell

    def __call__(self, function: Callable[..., Tensor], *rows: Tensor) -> Tensor:
        result = self._tiles(function, *rows)
        self._tell(len(rows[0]))
        return result

    def gradient(self, function: Callable[..., Tensor], images: Tensor, *rows: Tensor) -> tuple[Tensor, Tensor]:
        """See `Tiles.gradient`."""
        result = self._tiles.gradient(function, images, *rows)
        self._tell(len(images))
        return result

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tiles, name)


def counted(row: GradientClassifier, tell: Callable[[int], None]) -> GradientClassifier:
    """The row, which tells of the images in every call of its tiles of gradients."""
    inner: Any = copy(row.undefended)
    inner.gradient_tiles = CountedTiles(inner.gradient_tiles, tell)
    return inner if row.undefended is row else replace(cast(Any, row), classifier=inner)


def looked_at(pair: Pair, data: Dataset, every: int) -> range:
    """Positions of the images that flags are measured on: the first of the data set at the suite's own stride.

    `LOOKED_AT` of them; under a test-time method one gradient tile, since a second one costs as much again.
    """
    assert isinstance(pair.classifier, TiledClassifier)
    size = pair.classifier.gradient_tiles.size
    count = LOOKED_AT if is_plain(pair.method.outer) else min(LOOKED_AT, size)
    return range(0, len(data.ids), every)[:count]


def black_boxes(plain: bool) -> Sequence[tuple[str, Attack]]:
    """Attacks that take no gradient of the row, by name: Square; under a method, whose queries are dear, transfer."""
    name, text = ("square", f"square:queries={QUERIES}") if plain else ("transfer", "transfer")
    return [(name, plugins.attack.configure(text).plugin)]


def columns(method: FlaggedMethod, resumed: Columns | None, rows: int) -> Columns:
    """Columns (rows,) of a row's flags; those that an interrupted run stored are not measured again."""
    if resumed is not None and "flag_n" in resumed and len(begun := resumed["flag_n"].nonzero()):
        stored = flags_in({name: resumed[name][begun[0]].numpy() for name in COLUMNS})
        return flag_columns(stored, rows)
    return flag_columns(method.flags, rows)


def notes(rows: Mapping[str, Any]) -> list[str]:
    """Sentences for a record from its sample table: all figures in one, and one for each raised flag."""
    measured = flags_in(rows)
    if not measured:
        return []
    figures = ", ".join(
        f"{flag.name.replace('_', ' ')} {flag.value:.3g} (at most {flag.threshold:g})" for flag in measured
    )
    raised = [f"{FLAG}{flag.sentence}." for flag in measured if flag.raised]
    return [f"{MEASURED} on {measured[0].n} images: {figures}.", *raised]


def faults(rows: Mapping[str, Any]) -> Iterator[str]:
    """Sentences on flags that differ between rows of one sample table."""
    for name in COLUMNS:
        if name in rows and len(np.unique(rows[name])) > 1:
            yield f"{name} differs between rows, and is measured once"
