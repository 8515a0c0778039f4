"""What a training run will take, from a few images timed on this machine."""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

from harness.train.build import build, open_training
from harness.train.loop import Conduct, train
from harness.train.parallel import World
from harness.train.spec import TrainSpec

FEW = 16


@dataclass(frozen=True)
class Estimate:
    """images: of the training set, with its copies. seconds: of the whole run in one process like this one."""

    images: int
    steps: int
    seconds: float


def estimate(spec: TrainSpec) -> Estimate:
    """Time a step of a few images, twice, and take the second."""
    data = open_training(spec)
    plan = build(spec, data, World())[0].feed.plan
    few = replace(
        spec, batch_size=min(FEW, spec.batch_size), accumulate=1, epochs=1, warmup=0, compile=False, repeats=1
    )
    task, _ = build(few, data, World())
    times = [time.monotonic()]
    with tempfile.TemporaryDirectory() as folder:
        short = replace(task, feed=replace(task.feed, plan=replace(task.feed.plan, images=2 * few.batch_size)))
        train(short, Path(folder), Conduct(report=lambda progress: times.append(time.monotonic())))
    per_image = (times[-1] - times[-2]) / few.batch_size
    return Estimate(plan.images, plan.steps, per_image * plan.steps * spec.batch_size)
