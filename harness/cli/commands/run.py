"""``harness run``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.api.requests import requests, stated_models
from harness.api.running import evaluated, prepared, print_subsets
from harness.cli.run_options import ModelSettings, OtherMethods, RunExecution, SuiteSettings
from harness.cli.settings import Settings, with_settings
from harness.types.spec import HOW_MUCH, RunSpec

if TYPE_CHECKING:
    from harness.evaluation.job import Job
    from harness.evaluation.launch.claims import Claims
    from harness.report.table import Table


@with_settings
def run(
    settings: Settings[RunSpec],
    methods: OtherMethods,
    suite_settings: SuiteSettings,
    model_settings: ModelSettings,
    execution: RunExecution,
    full: Annotated[
        bool, typer.Option("--full", help="The whole test set also without --suite.", rich_help_panel=HOW_MUCH)
    ] = False,
) -> None:
    """Evaluate classifiers under test-time methods on benchmarks, and print the leaderboard.

    Without options: every bundled classifier with `default` and `de` on the embedded corruption benchmark, on every
    sixth test image. Stopped runs go on where they were when the same command is given again.

    Examples: `harness run --full`, `harness run --suite digits --suite digits-c --tta dda`,
    `harness run --plugin mine.py --model mine`, `harness run --suite cifar10 --data DIR --model my.pt --architecture
    resnet18 --mean 0.5 --std 0.5`.
    """
    from harness import plugins
    from harness.terminal import console

    plugins.discover(*execution.plugin)
    running = execution.parsed()
    settings["models"] = stated_models(settings["models"], vars(model_settings))
    all_requests = requests(
        settings, vars(suite_settings), methods.texts(settings["methods"]), full, running.weight_files
    )
    jobs = prepared(all_requests, running)
    if execution.dry_run:
        console.show(_estimates(jobs, running.claims))
        return
    print_subsets(jobs, "--every 1" if settings["suite"] else "--full")
    _finish(jobs, evaluated(jobs, running), execution)


def _finish(jobs: Sequence[Job], records: Sequence[Path], execution: RunExecution) -> None:
    """Print the leaderboards of the records, and the next step."""
    from harness.report import leaderboard
    from harness.terminal import console

    for entries in leaderboard.boards(leaderboard.readable(records, console.leave_out)).values():
        console.show(leaderboard.ranking(entries))
    out = execution.out
    missing = sum(len(job.pairs) for job in jobs) - len(records)
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
