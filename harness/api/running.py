"""From requests to records: prepare the jobs, and evaluate them under the bar."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.api import left_out
from harness.api.machine import threads

if TYPE_CHECKING:
    from harness.evaluation.job import Job
    from harness.evaluation.launch.claims import Claims
    from harness.evaluation.loop import Progress
    from harness.evaluation.request import Request
    from harness.models.published.locate import WeightFiles


def claims_of(shard: tuple[int, int] | None = None) -> Claims:
    """The claims of the i-th of n fixed shares; without one, of a process that takes one part after the other."""
    from harness.evaluation.launch.claims import Shard
    from harness.evaluation.launch.leases import Leased

    return Shard(*shard) if shard else Leased()


@dataclass(frozen=True)
class Execution:
    """Settings that decide no number: how to run, and the files that a run reads and writes.

    out: folder of the records. weight_files: places of published weights.
    claims: parts that this process computes. skip_bad: leave out what cannot be read, instead of stopping.
    batch_size: images held at a time; 0 fits the memory. workers: number of threads that decode ahead, or "auto".
    fresh: compute again what is on disk. shown: show the bar. tolerant: set parts aside that fail twice.
    mixed_devices: go on with what another kind of device has begun.
    """

    out: Path
    weight_files: WeightFiles
    claims: Claims = field(default_factory=claims_of)
    skip_bad: bool = False
    batch_size: int = 0
    workers: str = "auto"
    fresh: bool = False
    shown: bool = True
    tolerant: bool = False
    mixed_devices: bool = False


def prepared(all_requests: Iterable[Request], execution: Execution) -> list[Job]:
    """The jobs, loaded and checked. Says which published models have other weights than the published ones."""
    from harness.terminal import console

    jobs = [prepared_one(request, execution) for request in all_requests]
    for sentence in dict.fromkeys(sentence for job in jobs for sentence in replaced(job)):
        console.err.print(sentence, markup=False)
    return jobs


def prepared_one(request: Request, execution: Execution) -> Job:
    """The job of a request; raises HarnessError for what does not fit. Prints nothing."""
    from harness.evaluation.prepare import prepare

    return prepare(request, execution.out, skip_bad=execution.skip_bad, weight_files=execution.weight_files)


def evaluated(jobs: Sequence[Job], execution: Execution) -> list[Path]:
    """Run every job under a progress bar; paths of the complete records."""
    from harness.evaluation import loop
    from harness.terminal import console

    records: list[Path] = []
    with console.progress(execution.shown) as bar:
        for job in jobs:
            evaluate = partial(
                loop.run,
                job,
                batch_size=execution.batch_size,
                claims=execution.claims,
                fresh=execution.fresh,
                workers=threads(execution.workers, job.datasets.values()),
                report=_reporter(bar, job),
                tolerant=execution.tolerant,
                mixed_devices=execution.mixed_devices,
            )
            records += left_out.evaluated(job, evaluate)
    return records


def print_subsets(jobs: Sequence[Job], remedy: str) -> None:
    """Print the strides of jobs that take no whole test set, and the option that would."""
    from harness.terminal import console

    for stride in dict.fromkeys(job.spec.stride for job in jobs if job.spec.every > 1):
        console.err.print(
            f"Evaluating {stride} test image of each condition. The whole test set: {remedy}.", soft_wrap=True
        )


def replaced(job: Job) -> list[str]:
    """A sentence for each published model whose weights are not the published ones."""
    return [
        f"{name}: {weights.source} is not the published file (its SHA-256 begins with {weights.sha256[:12]}): "
        "these are numbers of other weights, and the record says so."
        for name, weights in job.models.items()
        if weights.details.get("as_published") == "no"
    ]


def _reporter(bar: Any, job: Job) -> Callable[[Progress], None]:
    """The function that shows a job's progress: a line of the bar per step of its preparation, and one for the rest."""
    from harness.evaluation.records import keys

    lines: dict[str, Any] = {}

    def report(progress: Progress) -> None:
        stage = progress.stage
        if stage not in lines:
            lines[stage] = bar.begin(stage or keys.benchmark(job.spec.suite), progress.total)
        bar.update(lines[stage], completed=progress.done, computed=progress.computed, info=_info(progress))

    return report


def _info(progress: Progress) -> str:
    """The condition under evaluation, and at the end the share of the time that went into waiting for data."""
    if progress.stage or progress.done < progress.total:
        return progress.condition
    return f"{progress.waiting:.0%} of it waiting for data"
