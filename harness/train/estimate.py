"""What a training run will take, from a few images timed on this machine."""

from __future__ import annotations

import tempfile
import time
from dataclasses import replace
from pathlib import Path

from harness.train.build import build, planned
from harness.train.loop import Conduct, train
from harness.train.parallel import World
from harness.train.spec import TrainSpec
from harness.types import Dataset

FEW = 16


def seconds(spec: TrainSpec, data: Dataset) -> float:
    """Of the whole run in one process like this one: a step of a few images is timed, twice, and the second counts."""
    plan = planned(spec, data, World())
    batch = min(FEW, plan.batch_size, max(plan.images // 2, 1))
    few = replace(spec, batch_size=batch, accumulate=1, epochs=1, warmup=0, compile=False, repeats=1)
    task, _ = build(few, data, World(device=spec.device))
    times = [time.monotonic()]
    with tempfile.TemporaryDirectory() as folder:
        short = replace(task, feed=replace(task.feed, plan=replace(task.feed.plan, images=2 * batch)))
        conduct = Conduct(World(device=spec.device), report=lambda progress: times.append(time.monotonic()))
        train(short, Path(folder), conduct)
    return (times[-1] - times[-2]) / batch * plan.steps * plan.batch_size
