"""Flags of a row: signs that its attack, and not its classifier, is what the robust accuracy measures."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from torch import Tensor

from harness import plugins
from harness.evaluation.attacked.checking import flags
from harness.evaluation.attacked.flags import LOOKED_AT, SIGNS, Flag, flag_columns, flags_in
from harness.models.tiles import TiledClassifier
from harness.report.names import FLAG, MEASURED
from harness.suites.bases.adversarial.attacking import classifier_of, is_plain
from harness.types import (
    Attack,
    Batch,
    Columns,
    Dataset,
    HarnessError,
    Pair,
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
    look: see `harness.types.Suite.prepare`.
    """

    outer: Any
    inner: Any
    pair: Pair
    data: Dataset
    every: int
    threat: ThreatModel
    look: Callable[[Batch], SuiteViews]

    @cached_property
    def flags(self) -> Sequence[Flag]:
        """Measured once per process, on the first images of the data set at the suite's own stride.

        `LOOKED_AT` of them; under a test-time method one gradient tile, since a second one costs as much again.
        """
        classifier = self.pair.classifier
        assert isinstance(classifier, TiledClassifier)
        plain = is_plain(self.outer)
        count = LOOKED_AT if plain else min(LOOKED_AT, classifier.gradient_tiles.size)
        batch = self.data.read(range(0, len(self.data.ids), self.every)[:count])
        views, rows = self.look(batch), range(len(batch))

        def noise(purpose: str) -> Tensor:
            return views.attack_noise(f"flags/{purpose}", rows)

        attacked = classifier_of(views, self.pair, rows)
        boxes = black_boxes(plain)
        try:
            return flags(attacked, batch.images, batch.labels, self.inner, self.threat, noise, boxes)
        except HarnessError as error:
            raise HarnessError(f"The attack {self.pair.method_name} on {self.pair.model}: {error}") from error


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
