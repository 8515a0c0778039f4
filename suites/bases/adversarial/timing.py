"""Time of a row's attacks and of its flags, from passes that are counted and one tile of each that is measured."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from harness.attacks.losses import cross_entropy
from harness.attacks.passes import query
from harness.models.tiles import TiledClassifier
from harness.suites.bases.adversarial import flagging
from harness.suites.bases.adversarial.attacking import classifier_of, is_plain
from harness.suites.bases.adversarial.cost import STRAIGHT, SURROGATE, UNDEFENDED, Load, flag_loads, loads
from harness.suites.bases.adversarial.flagging import black_boxes
from harness.types import (
    Adaptation,
    Batch,
    Dataset,
    GradientClassifier,
    HarnessError,
    Pair,
    SuiteViews,
    ThreatModel,
)

LONG = 1.0
"""Seconds of a first call above which there is no second one: its warming up counts for little."""

FEW_STEPS = 2
"""Steps of an adaptation that are measured in place of all, which would take minutes."""


@dataclass(frozen=True)
class Passes:
    """Seconds of one tile of gradients: of a forward pass, and of a gradient, which is a pass there and back."""

    forward: float
    gradient: float


@dataclass(frozen=True, eq=False)
class Stopwatch:
    """Measures the passes of one row. views, labels: of images (B, 3, H, W) that fill one tile of gradients."""

    pair: Pair
    views: SuiteViews
    labels: Tensor
    _measured: dict[str, Passes] = field(default_factory=dict)

    def total(self, work: Iterable[Load], images: int = 0) -> float:
        """Seconds of so many images, whose tiles are padded, or of one image in a full tile for 0."""
        size = len(self.labels)
        tiles = -(-images // size) if images else 1 / size
        spent = 0.0
        for load in work:
            if load.form not in self._measured:
                self._measured[load.form] = self._passes(load.form)
            once = self._measured[load.form]
            single = max(images, 1) if load.alone else tiles
            spent += single * (load.gradients * once.gradient + (load.forward - load.gradients) * once.forward)
        return spent

    def _passes(self, form: str) -> Passes:
        """Seconds of the passes through one form of the row; of an adaptation's steps a few are measured."""
        method = self.pair.method.outer
        many = isinstance(method, Adaptation) and form != UNDEFENDED
        steps = int(form.removeprefix(SURROGATE)) if form.startswith(SURROGATE) else method.start if many else 1
        row: Any = classifier_of(self.views, self.pair, range(len(self.labels)))
        if many:
            row = row.surrogate(min(FEW_STEPS, steps))
        if form == UNDEFENDED or is_plain(method):
            row = row.undefended
        if form == STRAIGHT:
            row = row.straight_through()
        times = steps / min(FEW_STEPS, steps)
        forward, gradient = self._timed(row)
        return Passes(times * forward, times * gradient)

    def _timed(self, row: GradientClassifier) -> tuple[float, float]:
        # Clones, since a classifier remembers the tensors that it has answered.
        images = self.views.original()
        return (
            seconds(lambda: query(row, images.clone())),
            seconds(lambda: row.gradient(images.clone(), cross_entropy, self.labels)),
        )


def seconds(call: Callable[[], object]) -> float:
    """Seconds of the second call, since the first one warms up; of the first if that takes long."""
    took = 0.0
    for _ in range(2):
        start = time.perf_counter()
        call()
        took = time.perf_counter() - start
        if took > LONG:
            break
    return took


def row_seconds(
    pair: Pair, data: Dataset, every: int, threat: ThreatModel, look: Callable[[Batch], SuiteViews]
) -> tuple[float, float]:
    """Seconds of a row's attacks per image, at most, and of its flags.

    data, every, look: see `flagging.FlaggedMethod`. Raises HarnessError for a classifier without gradients.
    """
    assert isinstance(pair.classifier, TiledClassifier)
    batch = data.read([place % len(data.ids) for place in range(pair.classifier.gradient_tiles.size)])
    watch = Stopwatch(pair, look(batch), batch.labels)
    row, image, classes = pair.method, batch.images[:1], data.num_classes
    flags = flag_loads(row, black_boxes(is_plain(row.outer)), image, classes, threat)
    count = len(flagging.looked_at(pair, data, every))
    try:
        return watch.total(loads(row, image, classes, threat)), watch.total(flags, count)
    except HarnessError as error:
        raise HarnessError(f"The attack {pair.method_name} on {pair.model}: {error}") from error
