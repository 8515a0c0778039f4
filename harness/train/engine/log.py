"""Log of a training: one JSON line per group of steps, with the shares of its time."""

from __future__ import annotations

import json
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from harness.base.files import read_limited, writing
from harness.base.parsing import parse_json
from harness.train.engine.parallel import World
from harness.train.input.plan import Plan
from harness.types import HarnessError

EVERY = 20
"""Steps per line."""


class Stopwatch:
    """Seconds by name. A GPU works asynchronously: with `closely` its clock waits for it."""

    def __init__(self, device: str) -> None:
        self._gpu = device.startswith("cuda")
        self._seconds: dict[str, float] = defaultdict(float)
        self.closely = True

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        """Time the context."""
        start = self._now()
        try:
            yield
        finally:
            self._seconds[name] += self._now() - start

    def _now(self) -> float:
        if self._gpu and self.closely:
            torch.cuda.synchronize()
        return time.perf_counter()

    def shares(self, total_name: str) -> dict[str, float]:
        """Shares of the other names in the time of `total_name`; starts over."""
        total = self._seconds.pop(total_name)
        shares = {name: round(seconds / total, 4) for name, seconds in self._seconds.items()}
        self.forget()
        return shares

    def forget(self) -> None:
        """Start over."""
        self._seconds.clear()


class Log:
    """``log.jsonl``: step, epoch, learning rate, mean loss terms, images per second, shares of the time.

    A line averages its group of steps; the first line after a resume, the rest of the interrupted group. Images per
    second and shares are of the last group of steps; on a GPU the shares are those of its last step, the only one that
    is watched closely. Only the first of several processes writes.

    start: number of steps that earlier runs did; lines that an interrupted run wrote after it are dropped.
    tensorboard: the same numbers as TensorBoard scalars beside it.
    """

    def __init__(self, out: Path, plan: Plan, start: int, world: World, *, tensorboard: bool) -> None:
        self._file, self._plan, self._world = out / "log.jsonl", plan, world
        self._sums: dict[str, float] = defaultdict(float)
        self._steps, self._began = 0, time.monotonic()
        self.watch = Stopwatch(world.device)
        self.shares: Mapping[str, float] = {}
        self._writer = _summary_writer(out, start) if tensorboard and world.first else None
        if world.first:
            earlier = [line for line in _lines(self._file) if line["step"] <= start]
            with writing(self._file) as partial:
                partial.write_text("".join(json.dumps(line) + "\n" for line in earlier))

    @contextmanager
    def step(self, number: int) -> Iterator[Stopwatch]:
        """Time a step, with a stopwatch for its parts."""
        closely = self._ends(number)
        if self._world.device.startswith("cuda") and closely:
            self.watch.forget()
        self.watch.closely = closely
        with self.watch("step"):
            yield self.watch

    def note(self, number: int, rate: float, losses: Mapping[str, float]) -> None:
        """Add a step's loss terms, and write a line where a group of steps ends."""
        self._steps += 1
        for name, value in losses.items():
            self._sums[name] += value
        if not self._ends(number):
            return
        now, done = time.monotonic(), number + 1
        self.shares = self.watch.shares("step")
        means = self._world.mean({name: value / self._steps for name, value in self._sums.items()})
        if self._world.first:
            self._write(
                done,
                {
                    "epoch": round(done / self._plan.per_epoch, 4),
                    "lr": rate,
                    "loss": means,
                    "images_per_second": round(self._plan.batch_size * self._steps / (now - self._began), 2),
                    "share": self.shares,
                },
            )
        self._sums.clear()
        self._steps, self._began = 0, now

    def _ends(self, number: int) -> bool:
        return (number + 1) % EVERY == 0 or number + 1 == self._plan.steps

    def _write(self, step: int, numbers: Mapping[str, Any]) -> None:
        with self._file.open("a") as file:
            file.write(json.dumps({"step": step, **numbers}) + "\n")
        if self._writer:
            for name, value in _flat(numbers):
                self._writer.add_scalar(name, value, step)
            self._writer.flush()


def _lines(file: Path) -> list[dict[str, Any]]:
    """Intact lines of a log, up to the first that is damaged or of no later step: a kill may cut the last line."""
    entries: list[dict[str, Any]] = []
    for line in read_limited(file).splitlines() if file.exists() else []:
        try:
            entry = parse_json(line)
        except ValueError:
            break
        step = entry.get("step") if isinstance(entry, dict) else None
        if type(step) is not int or step <= (entries[-1]["step"] if entries else 0):
            break
        entries.append(entry)
    return entries


def _flat(numbers: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    for name, value in numbers.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}/")
        else:
            yield prefix + name, float(value)


def _summary_writer(folder: Path, start: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise HarnessError('--tensorboard needs its package: pip install "robustness-harness[tensorboard]".') from error
    return SummaryWriter(str(folder), purge_step=start + 1)
