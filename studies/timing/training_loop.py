"""Cost of the trainer around the networks: its loop against a bare one over the same images and networks.

    python studies/timing/training_loop.py [--steps 30] [--write]

The bare loop has one batch in memory, augmented and ready: forward, backward and step of the optimiser, and for DiffAug
the denoiser on pre-generated noise. Both are timed in turns in one process, a step at a time, so that other work of the
machine slows both alike. The image operations of AugMix are no part of the bare loop; with `--workers 1` a separate
process prepares them ahead.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F

from harness import plugins
from harness.base import noise
from harness.report.table import Table, markdown
from harness.train.build import build
from harness.train.engine import optimize
from harness.train.engine.parallel import World
from harness.train.input.splits import open_training
from harness.train.loop import RunMode, Task, TrainingProgress, train
from harness.train.resolve import resolve
from harness.train.spec import TrainSpec

CASES: dict[str, tuple[dict[str, Any], int]] = {
    "resnet": ({"model": "resnet"}, 0),
    "resnet+diffaug": ({"model": "resnet", "diffaug": True}, 0),
    "resnet+augmix": ({"model": "resnet", "augmix": True}, 0),
    "resnet+augmix, --workers 1": ({"model": "resnet", "augmix": True}, 1),
    "vit": ({"model": "vit"}, 0),
    "vit+diffaug": ({"model": "vit", "diffaug": True}, 0),
}
"""Settings of each training, and its number of processes that prepare batches ahead."""


def bare(task: Task) -> Iterator[None]:
    """Steps of the same work with nothing around it."""
    step = task.feed[0].to("cpu")
    network = task.network.train().to(memory_format=torch.channels_last)
    optimizer = optimize.build(task.spec, task.network)
    images, labels = step.augmented.images, step.augmented.labels
    objective: Any = task.objective
    terms = getattr(objective, "terms", ())
    diffaug = next((term for term in terms if term.name == "diffaug"), None)
    if diffaug:
        key: Any = {"seed": 0, "samples": step.raw.ids, "draw": 0}
        t = noise.integers(0, 1000, purpose="t", **key)
        eps = noise.gaussian(images.shape[1:], purpose="eps", **key)
    while True:
        optimizer.zero_grad(set_to_none=True)
        if diffaug:
            with torch.no_grad():
                both = torch.cat([images, diffaug.reverse(step.raw.images, t, eps, labels)])
            # The mean over both halves, doubled, is the sum of two means.
            (2 * F.cross_entropy(network(both), labels.repeat(2))).backward()
        elif step.views:  # AugMix: writing its divergence out again would measure nothing else
            sum(objective(network, step).values()).backward()
        else:
            F.cross_entropy(network(images), labels).backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        yield


def measure(settings: dict[str, Any], workers: int, steps: int) -> tuple[float, float]:
    """Median seconds of a step, of the trainer and of the bare loop."""
    spec = resolve(TrainSpec(**settings, epochs=-(-steps // 18)))
    data = open_training(spec)
    other = bare(build(spec, data, World())[0])
    trainer_times, bare_times = [], []
    clock = time.perf_counter()

    def between(progress: TrainingProgress) -> None:
        nonlocal clock
        trainer_times.append(time.perf_counter() - clock)
        start = time.perf_counter()
        next(other)
        clock = time.perf_counter()
        bare_times.append(clock - start)

    with tempfile.TemporaryDirectory() as folder:
        train(build(spec, data, World())[0], Path(folder), RunMode(workers=workers, report=between))
    return statistics.median(trainer_times[3:]), statistics.median(bare_times[3:])


def main() -> None:
    """Measure all cases and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--write", action="store_true", help="write results/training_loop.md")
    arguments = parser.parse_args()
    plugins.discover()
    rows = []
    for name, (settings, workers) in CASES.items():
        trainer, plain = measure(settings, workers, arguments.steps)
        rows.append([name, f"{1000 * trainer:.0f}", f"{1000 * plain:.0f}", f"{100 * (trainer / plain - 1):+.1f} %"])
        print(*rows[-1], flush=True)
    if arguments.write:
        header = ["classifier", "step (ms)", "bare step (ms)", "the loop costs"]
        caption = f"Batches of 64 digits, medians, {torch.get_num_threads()} thread(s), torch {torch.__version__}."
        table = Table("The training loop against a bare one", header, rows, caption)
        Path("results/training_loop.md").write_text(markdown(table))


if __name__ == "__main__":
    main()
