"""``harness run --on``: start the processes of a run, and watch them."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from harness.base.errors import HarnessError

WHERE = "gpus, gpus:N, processes:N"


def launch(where: str, out: Path) -> None:
    """Run this very command, without ``--on``, in several processes; the first one prints the leaderboard.

    Raises HarnessError for a place that does not exist, and `Failed` if part of the work failed.
    """
    from harness.evaluation.launch.engines.local import local_workers, supervise
    from harness.evaluation.launch.folder import RUNS
    from harness.terminal import console

    gpus = _gpus(where)
    workers = local_workers(without_on(sys.argv[1:]), out / RUNS, gpus)
    with console.progress() as bar:
        supervise(workers, _watcher(out, bar))


def begin_worker(device: str, out: Path) -> None:
    """Take this worker's own GPU, and print nothing unless it is the first one; nothing for a process on its own.

    The first one has parts tried again that failed before it was started.
    """
    from harness.evaluation.launch.failures import Failures
    from harness.evaluation.launch.folder import RUNS, RunFolder
    from harness.evaluation.launch.workers import Worker
    from harness.terminal import console

    worker = Worker.of(os.environ)
    if worker is None:
        return
    worker.take_gpu(device)
    console.out.quiet = not worker.prints
    if worker.prints and worker.first_start:
        for path in (out / RUNS).glob("*"):
            Failures(RunFolder(path), tolerant=True).forget()


def without_on(arguments: Sequence[str]) -> list[str]:
    """The command's arguments without the option ``--on`` and its value."""
    kept = []
    rest = iter(arguments)
    for argument in rest:
        if argument == "--on":
            next(rest, None)
        elif not argument.startswith("--on="):
            kept.append(argument)
    return kept


def _gpus(where: str) -> Sequence[int | None]:
    """The GPU of each process; None for the CPU."""
    name, _, count = where.partition(":")
    if name not in ("gpus", "processes") or (count and not count.isdecimal()) or (name == "processes" and not count):
        raise HarnessError(f"--on {where}: give one of {WHERE}.")
    number = int(count or 0)
    if name == "processes":
        if not number:
            raise HarnessError(f"--on {where}: give at least one process.")
        return [None] * number
    import torch

    there = torch.cuda.device_count()
    if not there:
        raise HarnessError(f"--on {where}: there is no GPU here. On the CPU: --on processes:2.")
    if number > there:
        raise HarnessError(f"--on {where}: there are {there} GPUs here.")
    return list(range(number or there))


def _watcher(out: Path, bar: Any) -> Callable[[], None]:
    """The function that shows the runs of the results folder on the bar."""
    from harness.evaluation.launch.status import statuses
    from harness.evaluation.records import keys

    lines: dict[str, Any] = {}
    begun: dict[str, int] = {}

    def watch() -> None:
        for run in statuses(out):
            done, total = run.images
            if run.suite not in lines:
                lines[run.suite] = bar.begin(keys.benchmark(run.suite), total)
                begun[run.suite] = done
            info = f"{len(run.leases)} parts in progress" + (f", {len(run.failures)} failed" if run.failures else "")
            bar.update(lines[run.suite], completed=done, computed=done - begun[run.suite], info=info)

    return watch
