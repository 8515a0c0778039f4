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
    samples: int
    seconds: float


def estimate(spec: TrainSpec) -> Estimate:
    """Time a step of a few images, twice, and take the second."""
    data = open_training(spec)
    plan = build(spec, data, World(device=spec.device))[0].feed.plan
    batch = min(FEW, plan.batch_size, max(plan.images // 2, 1))
    few = replace(spec, batch_size=batch, accumulate=1, epochs=1, warmup=0, compile=False, repeats=1)
    task, _ = build(few, data, World(device=spec.device))
    times = [time.monotonic()]
    with tempfile.TemporaryDirectory() as folder:
        short = replace(task, feed=replace(task.feed, plan=replace(task.feed.plan, images=2 * batch)))
        conduct = Conduct(World(device=spec.device), report=lambda progress: times.append(time.monotonic()))
        train(short, Path(folder), conduct)
    per_image = (times[-1] - times[-2]) / batch
    return Estimate(plan.images, plan.steps, plan.steps * plan.batch_size, per_image * plan.steps * plan.batch_size)
