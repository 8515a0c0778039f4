"""Ray: an actor per GPU of a cluster, each a worker, which Ray starts again where it dies."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.base.errors import Failed, HarnessError
from harness.evaluation.launch.engines.local import RESTARTS
from harness.evaluation.launch.workers import WORKER

TICK = 1.0
"""Seconds between two looks at the actors."""


@dataclass(frozen=True)
class Ray:
    """Size of a run.

    workers: their number; 0 for one per GPU, or per two cores where there is none. gpus: of each, -1 for one if any.
    """

    workers: int = 0
    gpus: int = -1


class RayWorker:
    """An actor: runs the command to its end, in a child process, on the GPU that Ray has chosen."""

    def work(self, command: Sequence[str], rank: int, log: str) -> int:
        """The exit code of the process."""
        with Path(log).open("ab") as file:
            environment = {**os.environ, WORKER: str(rank)}
            return subprocess.run(command, env=environment, stdout=file, stderr=file, check=False).returncode


def run_on_ray(address: str, settings: Ray, arguments: Sequence[str], logs: Path, watch: Callable[[], None]) -> None:
    """Start the actors, and wait for them.

    address: of a cluster; "" for the one that this process belongs to, or else a new one on this machine.
    Raises HarnessError without Ray or a cluster, and if a worker refuses its input; `Failed` if a part failed.
    """
    ray = _connected(address)
    there = ray.cluster_resources()
    gpus = min(int(there.get("GPU", 0)), 1) if settings.gpus < 0 else settings.gpus
    count = settings.workers or int(there["GPU"] // gpus if gpus else there["CPU"] // 2) or 1
    logs.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "harness", *arguments]
    options = {"num_gpus": gpus, "num_cpus": 1, "max_restarts": RESTARTS, "max_task_retries": RESTARTS}
    actors = [ray.remote(RayWorker).options(**options).remote() for _ in range(count)]
    files = [logs / f"worker-{rank}.log" for rank in range(count)]
    results = [a.work.remote(command, rank, str(files[rank])) for rank, a in enumerate(actors)]
    waiting = list(results)
    while waiting:
        _, waiting = ray.wait(waiting, num_returns=len(waiting), timeout=TICK)
        watch()
    _check(ray, results, files)


def _connected(address: str) -> Any:
    try:
        import ray
    except ImportError as error:
        raise HarnessError(f'--on ray needs Ray ({error}): pip install "robustness-harness[ray]".') from error
    if not ray.is_initialized():
        try:
            ray.init(address=address or None, include_dashboard=False, log_to_driver=False, configure_logging=False)
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise HarnessError(f"--on ray:{address}: no cluster answers there ({error}).") from error
    return ray


def _check(ray: Any, results: Sequence[Any], files: Sequence[Path]) -> None:
    """Raise the error of the workers' exit codes, if there is one."""
    for result, file in zip(results, files, strict=True):
        try:
            code, said = ray.get(result), ""
        except ray.exceptions.RayError as error:
            code, said = Failed.code, str(error)
        if code:
            lines = file.read_text(errors="replace").strip().splitlines() if file.exists() else []
            text = "\n".join(lines[-5:]).removeprefix("Error: ") or said
            raise (HarnessError if code == HarnessError.code else Failed)(f"{text}\nThe whole log: {file}.")
