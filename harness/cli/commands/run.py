"""``harness run``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness.cli.defaults import requests
from harness.cli.options import RESULTS, Files, Plugin, Workers, shares_of, threads
from harness.cli.settings import Settings, with_settings
from harness.cli.weight_files import weight_files_of
from harness.types.spec import HOW_MUCH, WHAT, RunSpec

if TYPE_CHECKING:
    from harness.evaluation.job import Job
    from harness.evaluation.launch.claims import Claims
    from harness.evaluation.loop import Progress
    from harness.report.table import Table
    from harness.types import Weights

SUITES = "Settings of suites"


class OnBadImage(StrEnum):
    """Fate of a run whose data cannot all be read."""

    stop = "stop"
    skip = "skip"


@dataclass(frozen=True)
class OtherMethods:
    """Options that name methods of other kinds, which suites combine with classifiers beside test-time methods."""

    smooth: Annotated[
        list[str],
        typer.Option(
            help="Smoother of certification: gaussian, denoise, denoise-vote:K. Repeatable. [default: denoise]",
            rich_help_panel=WHAT,
        ),
    ] = field(default_factory=list)
    detector: Annotated[
        list[str],
        typer.Option(
            help="Detector of out-of-distribution images: scale, knn:k=10, react:percentile=tune. Repeatable; "
            "every --tta with every --detector. [default: the suite's]",
            rich_help_panel=WHAT,
        ),
    ] = field(default_factory=list)
    attack: Annotated[
        list[str],
        typer.Option(
            help="Adversarial attack, with settings: see harness list attacks. Repeatable; every --tta with every "
            "--attack. No bundled suite takes one yet.",
            rich_help_panel=WHAT,
        ),
    ] = field(default_factory=list)

    def texts(self, tta: Sequence[str]) -> dict[str, Sequence[str]]:
        """The texts of these options and of ``--tta``, by kind of plugin."""
        from harness import plugins

        return {
            plugins.method.kind: tta,
            plugins.smoother.kind: self.smooth,
            plugins.detector.kind: self.detector,
            plugins.attack.kind: self.attack,
        }


@dataclass(frozen=True)
class SuiteSettings:
    """Shorthands for settings of a suite: ``--severity 5`` for ``digits-c:severity=5``."""

    data: Annotated[
        Path | None, typer.Option(help="Folder of the data, for suites that read one.", rich_help_panel=SUITES)
    ] = None
    severity: Annotated[
        str | None,
        typer.Option(help="Severities of a corruption suite: 5, or 1,2,3,4,5.", rich_help_panel=SUITES),
    ] = None
    sigma: Annotated[
        str | None, typer.Option(help="Noise levels of certification: 0.5, or 0.25,0.5,1.", rich_help_panel=SUITES)
    ] = None
    radii: Annotated[
        str | None,
        typer.Option(
            help="Certify at these radii only: sampling stops when an image's answer is settled.",
            rich_help_panel=SUITES,
        ),
    ] = None


@dataclass(frozen=True)
class RunExecution:
    """Options that decide no number: how to run, and the files that a run reads and writes."""

    batch_size: Annotated[
        int,
        typer.Option(
            min=0, show_default=False, help="Images held at a time; 0 fits the memory. Never changes a number."
        ),
    ] = 0
    workers: Workers = "auto"
    on_bad_image: Annotated[
        OnBadImage,
        typer.Option(
            help="skip leaves out what cannot be read, images and other files: the records are partial and say so."
        ),
    ] = OnBadImage.stop
    out: Annotated[Path, typer.Option(help="Folder for the records.")] = RESULTS / "local"
    weights: Files = field(default_factory=list)
    shard: Annotated[str, typer.Option(help="i/n: the i-th of n processes that share --out, from 0.")] = "0/1"
    plugin: Plugin = field(default_factory=list)
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print what would be computed and how long it takes.")] = (
        False
    )
    fresh: Annotated[bool, typer.Option("--fresh", help="Compute again what is already on disk.")] = False


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
    from harness.cli import console
    from harness.evaluation.launch.claims import Shard
    from harness.evaluation.prepare import prepare

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
    from harness.cli import console
    from harness.evaluation import loop

    records: list[Path] = []
    with console.progress() as bar:
        for job in jobs:
            records += loop.run(
                job,
                batch_size=execution.batch_size,
                claims=claims,
                fresh=execution.fresh,
                workers=threads(execution.workers, job.datasets.values()),
                report=_reporter(bar, job),
            )
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
    from harness.cli import console

    for name, weights in models.items():
        if weights.details.get("as_published") == "no":
            console.err.print(
                f"{name}: {weights.source} is not the published file (its SHA-256 begins with {weights.sha256[:12]}): "
                "these are numbers of other weights, and the record says so.",
                markup=False,
            )


def _print_subsets(jobs: Sequence[Job], remedy: str) -> None:
    """Print the strides of jobs that take no whole test set, and the option that would."""
    from harness.cli import console

    for stride in dict.fromkeys(job.spec.stride for job in jobs if job.spec.every > 1):
        console.err.print(
            f"Evaluating {stride} test image of each condition. The whole test set: {remedy}.", soft_wrap=True
        )


def _finish(jobs: Sequence[Job], records: Sequence[Path], execution: RunExecution) -> None:
    """Print the leaderboards of the records, and the next step."""
    from harness.cli import console
    from harness.report import leaderboard

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
