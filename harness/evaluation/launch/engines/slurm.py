"""Slurm: a job array of workers, which submit themselves again at the time limit and on preemption.

By submitit, or by a script for sbatch that does the same.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.base.errors import Failed, HarnessError
from harness.evaluation.launch.engines.local import RESTARTS
from harness.evaluation.launch.workers import WORKER

TICK = 1.0
"""Seconds between two looks at the jobs."""

WARNING = 120
"""Seconds before the time limit at which a job is told to submit itself again."""

REMEDY = 'pip install "robustness-harness[slurm]", or run the script that --dry-run prints: sbatch FILE'


@dataclass(frozen=True)
class Slurm:
    """A job array, and what one worker asks for.

    workers: their number. time: limit, hours:minutes:seconds. gpus, cpus: of a worker. memory: such as 64G.
    partition, account, qos, constraint: as sbatch has them; "" for the cluster's own.
    cluster: slurm; local runs the jobs on this machine, to try it.
    """

    workers: int = 4
    time: str = "4:00:00"
    gpus: int = 1
    cpus: int = 8
    memory: str = ""
    partition: str = ""
    account: str = ""
    qos: str = ""
    constraint: str = ""
    cluster: str = "slurm"

    def __post_init__(self) -> None:
        if min(self.workers, self.cpus) < 1 or self.gpus < 0:
            raise HarnessError(
                f"--on slurm: workers={self.workers} and cpus={self.cpus} must be at least 1, gpus={self.gpus} not "
                "negative."
            )
        if self.cluster not in ("slurm", "local"):
            raise HarnessError(f"--on slurm: cluster={self.cluster} must be slurm or local.")
        _ = self.minutes

    @property
    def minutes(self) -> int:
        """The time limit in minutes, rounded up."""
        numbers = self.time.split(":")
        if not 1 <= len(numbers) <= 3 or not all(number.isdecimal() for number in numbers):
            raise HarnessError(f"--on slurm: time={self.time} must be hours:minutes:seconds, such as 4:00:00.")
        hours, minutes, seconds = map(int, [*numbers, "0", "0"][:3])
        return 60 * hours + minutes + bool(seconds)

    def script(self, arguments: Sequence[str]) -> str:
        """A script for sbatch: the same job array without submitit."""
        named = {"partition": self.partition, "account": self.account, "qos": self.qos, "constraint": self.constraint}
        asked = {"time": self.time, "cpus-per-task": self.cpus, "gpus-per-node": self.gpus, "mem": self.memory, **named}
        options = [f"#SBATCH --{name}={value}" for name, value in asked.items() if value]
        command = shlex.join([sys.executable, "-m", "harness", *arguments])
        return "\n".join([
            "#!/bin/bash",
            "#SBATCH --job-name=harness",
            f"#SBATCH --array=0-{self.workers - 1}",
            *options,
            "#SBATCH --requeue",
            "#SBATCH --open-mode=append",
            f"#SBATCH --signal=B:USR1@{WARNING}",
            'trap \'kill "$worker"; scontrol requeue "${SLURM_ARRAY_JOB_ID}_${SLURM_ARRAY_TASK_ID}"\' USR1',
            f'{WORKER}="$SLURM_ARRAY_TASK_ID" {command} &',
            "worker=$!",
            'wait "$worker"',
        ])  # fmt: skip


@dataclass(frozen=True)
class Work:
    """One worker, as submitit runs it: the exit code of its process. command: of the process."""

    command: Sequence[str]

    def __call__(self, rank: int) -> int:
        """Run to the end."""
        return subprocess.run(self.command, env={**os.environ, WORKER: str(rank)}, check=False).returncode

    def checkpoint(self, rank: int) -> Any:
        """What submitit submits at the time limit, or on preemption: the same again, which goes on."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self, rank)


def submit_and_wait(slurm: Slurm, arguments: Sequence[str], logs: Path, watch: Callable[[], None]) -> None:
    """Submit the workers, and wait for them. watch: called now and then.

    Raises HarnessError without submitit or Slurm, and if a worker refuses its input; `Failed` if a part failed, or a
    worker ended too often.
    """
    executor = _executor(slurm, logs)
    work = Work([sys.executable, "-m", "harness", *arguments])
    jobs = executor.map_array(work, range(slurm.workers))
    restarts = 0
    while True:
        for rank, job in enumerate(jobs):
            # A job that was killed leaves no result, and the cluster does not start it again.
            if job.done() and job.exception() is not None and restarts < RESTARTS * slurm.workers:
                jobs[rank] = executor.submit(work, rank)
                restarts += 1
        if all(job.done() for job in jobs):
            break
        time.sleep(TICK)
        watch()
    _check(jobs)


def _executor(slurm: Slurm, logs: Path) -> Any:
    try:
        import submitit
    except ImportError as error:
        raise HarnessError(f"--on slurm needs submitit ({error}). {REMEDY}.") from error
    try:
        executor = submitit.AutoExecutor(folder=logs, cluster=slurm.cluster)
    except (RuntimeError, ValueError) as error:
        raise HarnessError(f"--on slurm: {error}. Give this command on a machine that has sbatch.") from error
    resources = {"timeout_min": slurm.minutes, "cpus_per_task": slurm.cpus, "name": "harness"}
    if slurm.cluster == "slurm":
        named = {"partition": slurm.partition, "account": slurm.account, "qos": slurm.qos, "mem": slurm.memory}
        named |= {"constraint": slurm.constraint}
        resources |= {f"slurm_{name}": value for name, value in named.items() if value}
        resources |= {"slurm_gpus_per_node": slurm.gpus, "slurm_signal_delay_s": WARNING}
    executor.update_parameters(**resources)
    return executor


def _check(jobs: Sequence[Any]) -> None:
    """Raise the error of the jobs' exit codes, if there is one."""
    for job in jobs:
        error = job.exception()
        code = Failed.code if error else job.result()
        if code:
            said = (job.stderr() or str(error) or "").strip().splitlines()
            text = "\n".join(said[-5:]).removeprefix("Error: ")
            raise (HarnessError if code == HarnessError.code else Failed)(f"{text}\nThe whole log: {job.paths.stderr}.")
