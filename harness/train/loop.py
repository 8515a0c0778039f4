"""The training loop: every classifier and every denoiser goes through these lines."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader

from harness.base import noise
from harness.models.tiles import autocast, repeatable
from harness.train.engine import optimize
from harness.train.engine.average import averaged
from harness.train.engine.log import Log, Stopwatch
from harness.train.engine.parallel import World
from harness.train.engine.selection import Selection
from harness.train.engine.state import State
from harness.train.input.feed import ErrorAsText, TrainFeed
from harness.train.inputs import Inputs
from harness.train.objectives.joint import JointForward
from harness.train.objectives.protocol import Objective
from harness.train.spec import TrainSpec
from harness.train.step import BatchTransform, Step
from harness.types import HarnessError


@dataclass(frozen=True)
class Task:
    """A network, its objective and its data.

    feed: the host's share of every pass; transforms: the augmentation that is left to the device.
    inputs: SHA-256s of the data and of the weights that the training starts from or looks at.
    projection: a loss term's own network, trained with the first and discarded.
    selection: chooses the weights of the best epoch; None for the last ones.
    """

    spec: TrainSpec
    network: nn.Module
    objective: Objective
    feed: TrainFeed
    transforms: Sequence[BatchTransform] = ()
    inputs: Inputs = field(default_factory=Inputs)
    projection: nn.Module | None = None
    selection: Selection | None = None


@dataclass(frozen=True)
class TrainingProgress:
    """Progress of a run, reported before the first step and after each.

    step: steps that are done, `start` of them by earlier runs; images: of one step; losses: the step's terms.
    shares: of the time, for what was timed in the last group of steps.
    """

    step: int
    steps: int
    images: int
    losses: Mapping[str, float]
    start: int
    shares: Mapping[str, float]


@dataclass(frozen=True)
class RunMode:
    """Circumstances of a run; they change no number. workers: processes that prepare passes ahead of time."""

    world: World = field(default_factory=World)
    workers: int = 0
    tensorboard: bool = False
    report: Callable[[TrainingProgress], None] = lambda progress: None


@dataclass(frozen=True)
class Trained:
    """The finished network, its steps and seconds, and the last shares of the time."""

    network: nn.Module
    steps: int
    seconds: float
    shares: Mapping[str, float]


def train(task: Task, out: Path, mode: RunMode) -> Trained:
    """Train to the end, from the step of ``out/state.pt`` on if there is one.

    The order of the samples, their augmentation, noise and dropout are functions of (seed, epoch, sample, step), so a
    run that was killed and resumed ends with the weights of one that was not.
    """
    spec, plan, world = task.spec, task.feed.plan, mode.world
    repeatable()
    network = task.network.to(world.device).to(memory_format=torch.channels_last)
    runner = world.wrap(JointForward(network))
    optimizer = optimize.build(spec, network, task.projection)
    trainee = nn.ModuleList([network, task.projection]) if task.projection else network
    ema, selection = averaged(spec, network, plan), task.selection
    state = State(out / "state.pt", {**spec.settings, **task.inputs.all}, trainee, optimizer, ema, selection)
    start = state.resume()
    world.check_agrees(start, f"the steps that {state.file} has done")
    if spec.compile:
        runner = torch.compile(runner)  # type: ignore[assignment]
    log = Log(out, plan, start, world, tensorboard=mode.tensorboard)
    passes = _passes(task.feed, start, mode.workers, world.device)
    mode.report(TrainingProgress(start, plan.steps, plan.batch_size, {}, start, {}))
    for step in range(start, plan.steps):
        rate = (spec.lr or 0.0) * optimize.learning_rate(spec, plan.epoch_of(step))
        for group in optimizer.param_groups:
            group["lr"] = rate
        with log.step(step) as watch:
            try:
                losses = _step(task, runner.train(), optimizer, passes, step, world, watch)
            except torch.OutOfMemoryError as error:
                raise HarnessError(
                    f"Out of memory on {world.device} in step {step + 1}. Start over (--fresh) with a higher "
                    "--accumulate, which keeps the batch of a step, or with a lower --batch-size."
                ) from error
        if ema:
            ema.update(network, step)
        if selection and world.first and plan.ends_epoch(step):  # the best weights are written by the first process
            selection.look(ema.module if ema else network, step + 1, (step + 1) / plan.per_epoch)
        log.note(step, rate, losses)
        mode.report(TrainingProgress(step + 1, plan.steps, plan.batch_size, losses, start, log.shares))
        if world.first:
            state.save_sometimes(step + 1, log.shares)
    if world.first:
        state.save(plan.steps, log.shares)
    world.wait()
    final = (ema.module if ema else network).eval()
    if selection and world.first:
        final.load_state_dict(selection.weights)
    return Trained(final, plan.steps, state.seconds, log.shares or state.shares)


def _step(
    task: Task,
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    passes: Iterator[Step],
    number: int,
    world: World,
    watch: Stopwatch,
) -> dict[str, float]:
    """One update of the weights, from as many passes as the plan asks for; the mean loss terms."""
    spec, count = task.spec, task.feed.plan.passes
    losses: dict[str, float] = defaultdict(float)
    optimizer.zero_grad(set_to_none=True)
    for turn in range(count):
        with watch("data"):
            step = next(passes).to(world.device)
        torch.manual_seed(_pass_seed(spec.seed, number * count + turn, world.rank))
        with watch("augment"):
            for transform in task.transforms:
                step = transform(step)
        accumulates = world.size > 1 and turn + 1 < count
        with network.no_sync() if accumulates else nullcontext():  # type: ignore[operator]
            with autocast(world.device, spec.dtype):
                terms = task.objective(network, step, watch)
            (torch.stack(list(terms.values())).sum() / count).backward()
        for name, term in terms.items():
            losses[name] += float(term.detach()) / count
    others = [*task.projection.parameters()] if task.projection else []
    world.average_gradients(others)
    norm = nn.utils.clip_grad_norm_([*network.parameters(), *others], spec.clip or float("inf"))
    if not torch.isfinite(norm):
        raise HarnessError(
            f"The loss or its gradient is no longer finite in step {number + 1} ({dict(losses)}). "
            "Lower --lr; the last saved state is kept."
        )
    optimizer.step()
    return losses


def _passes(feed: TrainFeed, start: int, workers: int, device: str) -> Iterator[Step]:
    """The passes of this process from step `start` on."""
    numbers = range(start * feed.plan.passes, feed.plan.steps * feed.plan.passes)
    if not workers:
        yield from map(feed.__getitem__, numbers)
        return
    loader: Any = DataLoader(
        ErrorAsText(feed), batch_size=None, sampler=numbers, num_workers=workers, pin_memory=device.startswith("cuda")
    )
    for prepared in loader:
        if isinstance(prepared, str):
            raise HarnessError(prepared)
        yield prepared


def _pass_seed(seed: int, number: int, rank: int) -> int:
    """Seed of dropout, stochastic depth and mixing in a pass."""
    return int(noise.generator(seed, "dropout", str(rank or ""), number).integers(2**62))
