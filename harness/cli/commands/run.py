"""``harness run``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from harness.api.left_out import Tally
from harness.api.planning import Planner
from harness.api.requests import requests, stated_models
from harness.api.running import evaluated, prepared, print_subsets
from harness.cli.commands.launch.on import begin_worker, launch
from harness.cli.run_options import FolderChoice, ModelSettings, OtherMethods, RunExecution, SuiteSettings
from harness.cli.settings import Settings, with_settings
from harness.cli.whole_folder import check_unused, finish, run_folder
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
    choice: FolderChoice,
    execution: RunExecution,
    full: Annotated[
        bool, typer.Option("--full", help="The whole test set also without --suite.", rich_help_panel=HOW_MUCH)
    ] = False,
) -> None:
    """Evaluate classifiers under test-time methods on benchmarks, and print the leaderboard.

    Without options: every bundled classifier with `default` and `de` on the embedded corruption benchmark, on every
    sixth test image. Stopped runs go on where they were when the same command is given again.

    Examples: `harness run --full`, `harness run --suite digits --suite digits-c --tta dda`,
    `harness run --plugin mine.py --model mine`, `harness run --model timm/NAME --data DIR --dry-run`, `harness run
    --suite cifar10 --data DIR --model my.pt --architecture resnet18 --mean 0.5 --std 0.5`.
    """
    from harness import plugins
    from harness.terminal import console

    if execution.on:
        launch(execution.on, execution.out, execution.dry_run)
        return
    begin_worker(settings["device"], execution.out)
    plugins.discover(*execution.plugin)
    running = execution.parsed()
    texts = methods.texts(settings["methods"])
    settings["models"] = stated_models(settings["models"], vars(model_settings))
    if suite_settings.data and not settings["suite"]:
        others = {**vars(suite_settings), "data": None}
        run_folder(suite_settings.data, choice, Planner(settings, others, texts, full, running), execution)
        return
    check_unused(choice)
    jobs = prepared(requests(settings, vars(suite_settings), texts, full, running.weight_files), running)
    if execution.dry_run:
        console.show(_estimates(jobs, running.claims))
        return
    print_subsets(jobs, "--every 1" if settings["suite"] else "--full")
    records = evaluated(jobs, running)
    finish(Tally.of(jobs), records, execution)


def _logits(job: Job) -> str:
    """Size of the logits that a run keeps."""
    from harness.evaluation.preflight.checks import logits_size

    return f"{logits_size(job) * len(job.pairs) / 1e6:,.1f} MB before compression"


def _estimates(jobs: Sequence[Job], claims: Claims) -> Table:
    """The table of a dry run: a column per job."""
    from harness import plugins
    from harness.evaluation.estimate import estimate
    from harness.report.table import Table

    estimates = [estimate(job, claims) for job in jobs]
    limits = ["at most " if e.at_most else "" for e in estimates]
    bounded = list(zip(limits, estimates, strict=True))
    rarer = {
        "denoiser calls": [e.denoiser_calls for e in estimates],
        "classifier gradients": [e.classifier_gradients for e in estimates],
        "denoiser gradients": [e.denoiser_gradients for e in estimates],
        "judge calls": [e.judge_calls for e in estimates],
    }
    rows = [
        ["models", *("\n".join(job.spec.models) for job in jobs)],
        ["methods", *("\n".join(job.spec.methods) for job in jobs)],
        ["conditions", *(f"{e.conditions:,}" for e in estimates)],
        ["images", *(f"{e.images:,}" for e in estimates)],
        ["not yet on disk", *(f"{e.missing:,}" for e in estimates)],
        ["classifier calls", *(f"{limit}{e.classifier_calls:,}" for limit, e in bounded)],
        *(
            [name, *(f"{limit}{count:,}" for limit, count in zip(limits, counts, strict=True))]
            for name, counts in rarer.items()
            if any(counts)
        ),
        *([["logits", *(_logits(job) for job in jobs)]] if jobs[0].spec.keep_logits else []),
        ["time", *(f"{limit}{e.seconds / 60:.1f} min" for limit, e in bounded)],
    ]
    gradients = (
        " Gradients are backward passes."
        if any(e.classifier_gradients or e.denoiser_gradients for e in estimates)
        else ""
    )
    caption = f"Calls are of single images.{gradients} Time from a short measurement on this machine"
    learns = any(plugins.detector.kind in job.axis.kinds for job in jobs)
    attacks = any(plugins.attack in job.axis.registries for job in jobs)
    caption += ", without what detectors learn and are tuned on first." if learns else "."
    caption += " The time has the flags of each row in it, the calls have not." if attacks else ""
    return Table("Dry run", ["", *(job.spec.suite for job in jobs)], rows, caption, multiline=True)
