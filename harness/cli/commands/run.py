"""``harness run``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness.api import left_out
from harness.api.machine import threads
from harness.api.requests import requests
from harness.api.weight_files import weight_files_of
from harness.cli.options import shares_of
from harness.cli.run_options import OnBadImage, OtherMethods, RunExecution, SuiteSettings
from harness.cli.settings import Settings, with_settings
from harness.types.spec import HOW_MUCH, RunSpec

if TYPE_CHECKING:
    from harness.evaluation.job import Job
    from harness.evaluation.launch.claims import Claims
    from harness.evaluation.loop import Progress
    from harness.report.table import Table
    from harness.types import Weights


@with_settings
def run(
    settings: Settings[RunSpec],
    methods: OtherMethods,
    suite_settings: SuiteSettings,
    execution: RunExecution,
    full: Annotated[
        bool, typer.Option("--full", help="The whole test set also without --suite.", rich_help_panel=HOW_MUCH)
    ] = False,
) -> None:
    """Evaluate classifiers under test-time methods on benchmarks, and print the leaderboard.

    Without options: every bundled classifier with `default` and `de` on the embedded corruption benchmark, on every
    sixth test image. Stopped runs go on where they were when the same command is given again.

    Examples: `harness run --full`, `harness run --suite digits --suite digits-c --tta dda`,
    `harness run --plugin mine.py --model mine`.
    """
    from harness import plugins
    from harness.evaluation.launch.claims import Shard
    from harness.evaluation.prepare import prepare
    from harness.terminal import console

    plugins.discover(*execution.plugin)
    weight_files = weight_files_of(execution.weights)
    claims = Shard(*shares_of(execution.shard))
    all_requests = requests(settings, vars(suite_settings), methods.texts(settings["methods"]), full, weight_files)
    skip_bad = execution.on_bad_image is OnBadImage.skip
    jobs = [prepare(request, execution.out, skip_bad=skip_bad, weight_files=weight_files) for request in all_requests]
    _print_replaced({name: weights for job in jobs for name, weights in job.models.items()})
    if execution.dry_run:
        console.show(_estimates(jobs, claims))
        return
    _print_subsets(jobs, "--every 1" if settings["suite"] else "--full")
    _finish(jobs, _evaluate(jobs, claims, execution), execution)


def _evaluate(jobs: Sequence[Job], claims: Claims, execution: RunExecution) -> list[Path]:
    """Run every job under a progress bar; paths of the complete records."""
    from harness.evaluation import loop
    from harness.terminal import console

    records: list[Path] = []
    with console.progress() as bar:
        for job in jobs:
            evaluate = partial(
                loop.run,
                job,
                batch_size=execution.batch_size,
                claims=claims,
                fresh=execution.fresh,
                workers=threads(execution.workers, job.datasets.values()),
                report=_reporter(bar, job),
            )
            records += left_out.evaluated(job, evaluate)
    return records


def _reporter(bar: Any, job: Job) -> Callable[[Progress], None]:
    """The function that shows a job's progress: a line of the bar per step of its preparation, and one for the rest."""
    from harness.evaluation.records import record

    lines: dict[str, Any] = {}

    def report(progress: Progress) -> None:
        stage = progress.stage
        if stage not in lines:
            lines[stage] = bar.begin(stage or record.benchmark(job.spec.suite), progress.total)
        bar.update(lines[stage], completed=progress.done, computed=progress.computed, info=_info(progress))

    return report


def _info(progress: Progress) -> str:
    """The condition under evaluation, and at the end the share of the time that went into waiting for data."""
    if progress.stage or progress.done < progress.total:
        return progress.condition
    return f"{progress.waiting:.0%} of it waiting for data"


def _print_replaced(models: dict[str, Weights]) -> None:
    """Print a line for each published model whose weights are not the published ones."""
    from harness.terminal import console

    for name, weights in models.items():
        if weights.details.get("as_published") == "no":
            console.err.print(
                f"{name}: {weights.source} is not the published file (its SHA-256 begins with {weights.sha256[:12]}): "
                "these are numbers of other weights, and the record says so.",
                markup=False,
            )


def _print_subsets(jobs: Sequence[Job], remedy: str) -> None:
    """Print the strides of jobs that take no whole test set, and the option that would."""
    from harness.terminal import console

    for stride in dict.fromkeys(job.spec.stride for job in jobs if job.spec.every > 1):
        console.err.print(
            f"Evaluating {stride} test image of each condition. The whole test set: {remedy}.", soft_wrap=True
        )


def _finish(jobs: Sequence[Job], records: Sequence[Path], execution: RunExecution) -> None:
    """Print the leaderboards of the records, and the next step."""
    from harness.report import leaderboard
    from harness.terminal import console

    for entries in leaderboard.boards(leaderboard.readable(records, console.leave_out)).values():
        console.show(leaderboard.ranking(entries))
    left_out.say(jobs, records)
    out = execution.out
    missing = left_out.lacking(jobs, records)
    if missing:
        console.out.print(f"Shard {execution.shard} is done; {missing} record(s) wait for the other shards.")
    console.out.print(f"Records written or found in {out}: {len(records)}.")
    if len(records) > 1:
        files = "".join(f" --plugin {file}" for file in execution.plugin)
        console.out.print(
            f"Compare two: harness compare MODEL:METHOD MODEL:METHOD --results {out} --suite SUITE{files}", markup=False
        )


def _estimates(jobs: Sequence[Job], claims: Claims) -> Table:
    """The table of a dry run: a column per job."""
    from harness import plugins
    from harness.evaluation.estimate import estimate
    from harness.report.table import Table

    estimates = [estimate(job, claims) for job in jobs]
    limits = ["at most " if e.at_most else "" for e in estimates]
    bounded = list(zip(limits, estimates, strict=True))
    rows = [
        ["models", *("\n".join(job.spec.models) for job in jobs)],
        ["methods", *("\n".join(job.spec.methods) for job in jobs)],
        ["conditions", *(f"{e.conditions:,}" for e in estimates)],
        ["images", *(f"{e.images:,}" for e in estimates)],
        ["not yet on disk", *(f"{e.missing:,}" for e in estimates)],
        ["classifier calls", *(f"{limit}{e.classifier_calls:,}" for limit, e in bounded)],
        ["denoiser calls", *(f"{limit}{e.denoiser_calls:,}" for limit, e in bounded)],
        ["time", *(f"{limit}{e.seconds / 60:.1f} min" for limit, e in bounded)],
    ]
    caption = "Calls are of single images. Time from a short measurement on this machine"
    learns = any(plugins.detector.kind in job.axis.kinds for job in jobs)
    caption += ", without what detectors learn and are tuned on first." if learns else "."
    return Table("Dry run", ["", *(job.spec.suite for job in jobs)], rows, caption, multiline=True)
