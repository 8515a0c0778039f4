"""``harness run --on``: start the processes of a run, and watch them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.base.errors import HarnessError

if TYPE_CHECKING:
    from harness.evaluation.launch.engines.slurm import Slurm

WHERE = "gpus, gpus:N, processes:N, slurm:SETTINGS, ray, ray:ADDRESS"


def launch(where: str, out: Path, dry_run: bool) -> None:
    """Run this very command, without ``--on``, in several processes, and print the leaderboard at the end.

    dry_run: print the script for Slurm. Raises HarnessError for a place that does not exist, and `Failed` if part of
    the work failed.
    """
    from harness.evaluation.launch.folder import RUNS
    from harness.terminal import console

    name, _, settings = where.partition(":")
    arguments = without(("--on", "--dry-run"), sys.argv[1:])
    if name not in ENGINES:
        raise HarnessError(f"--on {where}: give one of {WHERE}.")
    if dry_run:
        if name != "slurm":
            raise HarnessError("--dry-run with --on prints the script for Slurm alone. Leave --on out for the costs.")
        console.out.print(_slurm(where, settings).script(arguments), soft_wrap=True, markup=False)
        return
    with console.progress() as bar:
        ENGINES[name](where, settings, arguments, out / RUNS, _watcher(out, bar))


def _local(where: str, settings: str, arguments: Sequence[str], logs: Path, watch: Callable[[], None]) -> None:
    from harness.evaluation.launch.engines.local import local_workers, supervise

    supervise(local_workers(arguments, logs, _gpus(where)), watch)


def _on_slurm(where: str, settings: str, arguments: Sequence[str], logs: Path, watch: Callable[[], None]) -> None:
    from harness.evaluation.launch.engines.slurm import submit_and_wait

    submit_and_wait(_slurm(where, settings), arguments, logs / "slurm", watch)
    _print_board(arguments)


def _on_ray(where: str, settings: str, arguments: Sequence[str], logs: Path, watch: Callable[[], None]) -> None:
    from harness.evaluation.launch.engines.ray import Ray, run_on_ray
    from harness.plugins.settings import START, parse

    address, *rest = START.split(f":{settings}", maxsplit=1)
    parameters = {"workers": int, "gpus": int}
    run_on_ray(address.removeprefix(":"), Ray(**parse(where, "".join(rest), parameters, {})), arguments, logs, watch)
    _print_board(arguments)


ENGINES: Mapping[str, Callable[..., None]] = {
    "gpus": _local, "processes": _local, "slurm": _on_slurm, "ray": _on_ray
}  # fmt: skip
"""What starts the processes, by the first word of ``--on``."""


def _slurm(where: str, settings: str) -> Slurm:
    from harness.evaluation.launch.engines.slurm import Slurm
    from harness.plugins.settings import parse

    types = {setting.name: type(setting.default) for setting in fields(Slurm)}
    return Slurm(**parse(where, settings, types, {}))


def _print_board(arguments: Sequence[str]) -> None:
    """Have the command print what is all on disk."""
    done = subprocess.run([sys.executable, "-m", "harness", *arguments], check=False)
    if done.returncode:
        sys.exit(done.returncode)


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


def without(options: Sequence[str], arguments: Sequence[str]) -> list[str]:
    """The command's arguments without some options; ``--on`` has a value."""
    kept = []
    rest = iter(arguments)
    for argument in rest:
        if argument == "--on" and argument in options:
            next(rest, None)
        elif argument.partition("=")[0] not in options:
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
