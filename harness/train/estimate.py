"""Estimate of a training run's time, from a few images timed on this machine."""

from __future__ import annotations

import tempfile
import time
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from harness.models.published.locate import WeightFiles
from harness.train.build import build
from harness.train.engine.parallel import World
from harness.train.loop import RunMode, train
from harness.train.spec import TrainSpec
from harness.types import Dataset

FEW = 16
"""Images of the step that is timed."""


def seconds(spec: TrainSpec, data: Dataset, weight_files: WeightFiles | None = None) -> float:
    """Seconds of the run in one process like this one, from the second of two timed steps of a few images.

    Raises HarnessError for what the run itself would refuse of its settings, data and weights.
    """
    world = World(device=spec.device)
    task, _ = build(spec, data, world, weight_files)
    plan = task.feed.plan
    batch = min(FEW, plan.batch_size)
    few = replace(plan, images=batch, batch_size=batch, epochs=2, passes=1, repeats=1)
    short = replace(task, spec=replace(spec, compile=False, warmup=0), feed=replace(task.feed, plan=few))
    times: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        train(short, Path(folder), RunMode(world, report=lambda progress: times.append(time.monotonic())))
    return (times[-1] - times[-2]) / batch * plan.steps * plan.batch_size


def spell(seconds: float) -> str:
    """Hours, minutes and seconds, or years if it is more than two."""
    years = seconds / timedelta(days=365).total_seconds()
    return f"{years:,.0f} years" if years > 2 else str(timedelta(seconds=int(seconds)))
