"""Processes on this machine: one per GPU, or some on the CPU, watched and restarted."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from harness.base import interruption
from harness.base.errors import Failed, HarnessError
from harness.evaluation.launch.workers import GPU, WORKER

RESTARTS = 3
"""Times that a worker is started again after its device failed or it was killed."""

TICK = 0.5
"""Seconds between two looks at the workers."""


@dataclass(eq=False)
class Supervised:
    """One worker. log: file of its messages, and for all but the first of what it prints."""

    command: Sequence[str]
    environment: Mapping[str, str]
    log: Path
    first: bool
    process: subprocess.Popen[bytes] | None = None
    restarts: int = 0
    code: int | None = None

    def start(self) -> None:
        """Start the process, or start it again."""
        again = {"HARNESS_RESTARTED": "1"} if self.restarts else {}
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command,
                env={**os.environ, **self.environment, **again},
                stdout=None if self.first else log,
                stderr=log,
                stdin=subprocess.DEVNULL,
            )
        interruption.children.add(self.process.pid)

    def look(self) -> None:
        """Note how the process ended, if it did; start it again where another try may help."""
        if self.code is not None or self.process is None or self.process.poll() is None:
            return
        code = self.process.returncode
        interruption.children.discard(self.process.pid)
        if code in (0, Failed.code, HarnessError.code) or self.restarts >= RESTARTS:
            self.code = code
            return
        self.restarts += 1
        self.start()

    @property
    def said(self) -> str:
        """The last lines of its log."""
        lines = self.log.read_text(errors="replace").strip().splitlines()
        return "\n".join(lines[-5:])


def supervise(workers: Sequence[Supervised], watch: Callable[[], None]) -> None:
    """Run the workers to their end. watch: called now and then.

    Raises HarnessError if a worker refuses its input, as all would; `Failed` if a part failed, or no worker is left.
    """
    try:
        for worker in workers:
            worker.start()
        while any(worker.code is None for worker in workers):
            time.sleep(TICK)
            for worker in workers:
                worker.look()
                if worker.code == HarnessError.code:
                    raise HarnessError(worker.said.removeprefix("Error: "))
            watch()
    finally:
        for worker in workers:
            if worker.process and worker.process.poll() is None:
                worker.process.terminate()
    codes = [worker.code for worker in workers]
    if 0 not in codes or Failed.code in codes:
        first = next(worker for worker in workers if worker.code)
        raise Failed(f"{first.said}\nThe whole log: {first.log}.")
    for worker in workers:
        worker.log.unlink(missing_ok=True)
    with suppress(OSError):  # a run of others is in progress
        workers[0].log.parent.rmdir()


def local_workers(arguments: Sequence[str], logs: Path, gpus: Sequence[int | None]) -> list[Supervised]:
    """Workers that run ``harness`` with these arguments, one for each GPU, or None for the CPU."""
    command = [sys.executable, "-m", "harness", *arguments]
    workers = []
    for rank, gpu in enumerate(gpus):
        environment = {WORKER: str(rank), GPU: "" if gpu is None else str(gpu)}
        workers.append(Supervised(command, environment, logs / f"worker-{rank}.log", first=rank == 0))
    return workers
