"""Estimate of a training run's time, from a few steps and a few test images timed on this machine."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import cast

from torch import nn

from harness.data import Subset
from harness.models.published.locate import WeightFiles
from harness.train.build import build, selected
from harness.train.engine.parallel import World
from harness.train.input.splits import open_heldout
from harness.train.kinds import kind_of
from harness.train.kinds.measure import TILE
from harness.train.loop import RunMode, Task, train
from harness.train.spec import TrainSpec
from harness.types import Dataset

FEW = 16
"""Images of the first passes, whose time decides how many images the others may have."""

BUDGET = 15.0
"""Seconds that the timed passes should take together."""

FEWEST, MOST = 2, 6
"""Timed passes; one before them, which is slower, does not count."""


@dataclass(frozen=True)
class TrainingEstimate:
    """Seconds of a run in one process like this one.

    start: until the first step, without opening the data. step: of one of `steps`, the passes of an attack in it.
    measurement: of the finished network, on the test images. selection: of all attacks on the held-out images.
    """

    start: float
    step: float
    steps: int
    measurement: float
    selection: float = 0.0

    @property
    def seconds(self) -> float:
        """Seconds of the whole run."""
        return self.start + self.step * self.steps + self.measurement + self.selection


def estimate(
    spec: TrainSpec, data: Dataset, test: Dataset, weight_files: WeightFiles | None = None
) -> TrainingEstimate:
    """The time of a run, from steps with its own batch, or with a part of it where that takes long.

    Raises HarnessError for what the run itself would refuse of its settings, data and weights.
    """
    world = World(device=spec.device)
    began = time.monotonic()
    task, _ = build(spec, data, world, weight_files)
    start = time.monotonic() - began
    plan = task.feed.plan
    whole = plan.batch_size // plan.passes
    few = min(FEW, whole)
    per_image = _pass_seconds(task, few, 1, world)[0] / few
    images = max(few, min(whole, int(BUDGET / FEWEST / per_image)))
    count = min(max(int(BUDGET / (per_image * images)), FEWEST), MOST)
    a_pass = median(_pass_seconds(task, images, count, world)) * whole / images
    measurement = _measurement(spec, task.network, test, world.device)
    return TrainingEstimate(start, a_pass * plan.passes, plan.steps, measurement, _selection(task, world.device))


def _pass_seconds(task: Task, images: int, count: int, world: World) -> Sequence[float]:
    """Seconds of `count` passes of so many images each, after one that does not count."""
    plan = replace(
        task.feed.plan, batch_size=images, epochs=count + 1, max_steps=count + 1, passes=1,
        repeats=min(task.feed.plan.repeats, images),
    )  # fmt: skip
    short = replace(task, spec=replace(task.spec, compile=False), feed=replace(task.feed, plan=plan))
    times: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        train(short, Path(folder), RunMode(world, report=lambda progress: times.append(time.monotonic())))
    return [after - before for before, after in pairwise(times[1:])]


def _measurement(spec: TrainSpec, network: nn.Module, test: Dataset, device: str) -> float:
    """Seconds of the measurement for the card, from one tile of the test images."""
    count = min(TILE, len(test.ids))
    tile = cast(Dataset, Subset(test, tuple(range(count))))
    began = time.monotonic()
    kind_of(spec).measure(spec, network.eval(), tile, device)
    return (time.monotonic() - began) * -(-len(test.ids) // TILE)


def _selection(task: Task, device: str) -> float:
    """Seconds of the attacks of --select, from one tile of the held-out images."""
    heldout = open_heldout(task.spec)
    if heldout is None:
        return 0.0
    count = min(TILE, len(heldout.ids))
    tile = cast(Dataset, Subset(heldout, tuple(range(count))))
    began = time.monotonic()
    selected(task.spec, tile, device).robust(task.network.eval(), tile)
    looks = -(-task.feed.plan.steps // task.feed.plan.per_epoch)
    return (time.monotonic() - began) * len(heldout.ids) / count * looks


def spell(seconds: float) -> str:
    """Hours, minutes and seconds, or years if it is more than two."""
    years = seconds / timedelta(days=365).total_seconds()
    return f"{years:,.0f} years" if years > 2 else str(timedelta(seconds=int(seconds)))
