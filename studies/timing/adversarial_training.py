"""Cost of adversarial training around its arithmetic: the trainer against a bare loop of the same passes.

    python studies/timing/adversarial_training.py [--steps 12] [--model resnet]

The bare loop attacks one batch in memory, with as many forward and backward passes to the images as the attack has
steps, and trains on the result; for TRADES with the clean prediction before and two passes after. Both are timed in
turns in one process, a step at a time, in CPU seconds of the process.
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
from torch import Tensor

from harness import plugins
from harness.train.build import build
from harness.train.engine import optimize
from harness.train.engine.parallel import World
from harness.train.input.splits import open_training
from harness.train.loop import RunMode, Task, TrainingProgress, train
from harness.train.resolve import resolve
from harness.train.spec import TrainSpec

FORMS = ("pgd", "trades:original", "trades")
"""Values of --adversarial, each a row."""

EPS, SIZE = 8 / 255, 2 / 255
"""Radius and step of both loops."""


def ascend(images: Tensor, passes: int, loss: Any) -> Tensor:
    """Images after so many signed steps, with nothing around them."""
    x = images
    for _ in range(passes):
        x = x.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(loss(x), x)
        x = (x.detach() + SIZE * gradient.sign()).clamp(images - EPS, images + EPS).clamp(0, 1)
    return x.detach()


def bare(task: Task) -> Iterator[None]:
    """Steps of the same work with nothing around it."""
    spec, step = task.spec, task.feed[0].to("cpu")
    network = task.network.to(memory_format=torch.channels_last)
    optimizer = optimize.build(spec, task.network)
    images, labels = step.augmented.images, step.augmented.labels
    while True:
        network.train(spec.adversarial == "trades")
        if spec.adversarial == "pgd":
            attacked = ascend(images, spec.attack_steps, lambda x: F.cross_entropy(network(x), labels))
        else:
            with torch.no_grad():
                p = network(images).softmax(1)
            attacked = ascend(
                images, spec.attack_steps, lambda x, p=p: F.kl_div(network(x).log_softmax(1), p, reduction="sum")
            )
        network.train()
        optimizer.zero_grad(set_to_none=True)
        if spec.adversarial == "pgd":
            loss = F.cross_entropy(network(attacked), labels)
        else:
            clean, other = network(images), network(attacked)
            kl = F.kl_div(other.log_softmax(1), clean.softmax(1), reduction="batchmean")
            loss = F.cross_entropy(clean, labels) + (spec.beta or 0) * kl
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        yield


def measure(model: str, form: str, steps: int) -> tuple[float, float]:
    """Median CPU seconds of a step, of the trainer and of the bare loop."""
    spec = resolve(TrainSpec(model, adversarial=form, max_steps=steps))
    data = open_training(spec)
    other = bare(build(spec, data, World())[0])
    trainer_times, bare_times = [], []
    clock = time.process_time()

    def between(progress: TrainingProgress) -> None:
        nonlocal clock
        trainer_times.append(time.process_time() - clock)
        start = time.process_time()
        next(other)
        clock = time.process_time()
        bare_times.append(clock - start)

    with tempfile.TemporaryDirectory() as folder:
        train(build(spec, data, World())[0], Path(folder), RunMode(report=between))
    return statistics.median(trainer_times[2:]), statistics.median(bare_times[2:])


def main() -> None:
    """Measure all forms and print a line each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--model", default="resnet")
    arguments = parser.parse_args()
    plugins.discover()
    for form in FORMS:
        trainer, plain = measure(arguments.model, form, arguments.steps)
        ratio = f"{100 * (trainer / plain - 1):+.1f} %"
        print(f"{form}: {1000 * trainer:.0f} ms a step, bare {1000 * plain:.0f} ms: {ratio}", flush=True)


if __name__ == "__main__":
    main()
