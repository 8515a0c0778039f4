"""``harness run``."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness.cli.lineup import check_axes, configured, spec_of
from harness.cli.options import (
    RESULTS,
    Device,
    Dtype,
    Files,
    Plugin,
    Seed,
    Workers,
    precisions,
    shares_of,
    threads,
    usable_device,
)
from harness.cli.weights import fetch, give

if TYPE_CHECKING:
    from harness.claims import Claims
    from harness.evaluate import Tick

QUICK = 6


class OnBadImage(StrEnum):
    """What becomes of a run whose data cannot all be read."""

    stop = "stop"
    skip = "skip"


def run(
    suite: Annotated[list[str], typer.Option(help="Benchmark, with settings: digits-c:severity=1,3. Repeatable.")] = [],  # noqa: B006
    model: Annotated[
        list[str],
        typer.Option(
            help="Registered name or path of a checkpoint. Repeatable. "
            "[default: those of the suite's data set whose weights are here]"
        ),
    ] = [],  # noqa: B006
    tta: Annotated[
        list[str],
        typer.Option(help="Test-time method, with settings: de:times=0,100. Repeatable. [default: the suite's]"),
    ] = [],  # noqa: B006
    data: Annotated[Path | None, typer.Option(help="Folder of the data, for suites that read one.")] = None,
    denoiser: Annotated[
        str | None,
        typer.Option(
            help="Diffusion model: a name, a checkpoint, a folder of diffusers, hf/ORG/MODEL or "
            "adm:file=X.pt,num_channels=128. [default: the suite's]"
        ),
    ] = None,
    severity: Annotated[str | None, typer.Option(help="Severities of a corruption suite: 5, or 1,2,3,4,5.")] = None,
    sigma: Annotated[str | None, typer.Option(help="Noise levels of certification: 0.5, or 0.25,0.5,1.")] = None,
    radii: Annotated[
        str | None, typer.Option(help="Certify at these radii only: sampling stops when an image's answer is settled.")
    ] = None,
    smooth: Annotated[
        list[str],
        typer.Option(
            help="Smoother of certification: gaussian, denoise, denoise-vote:K. Repeatable. [default: denoise]"
        ),
    ] = [],  # noqa: B006
    detector: Annotated[
        list[str],
        typer.Option(
            help="Detector of out-of-distribution images: scale, knn:k=10, react:percentile=tune. Repeatable; "
            "every --tta with every --detector. [default: the suite's]"
        ),
    ] = [],  # noqa: B006
    full: Annotated[bool, typer.Option("--full", help="The whole test set also without --suite.")] = False,
    every: Annotated[
        int,
        typer.Option(
            min=0, show_default=False, help="Every k-th test image. [default: the suite's; without --suite 6]"
        ),
    ] = 0,
    limit: Annotated[
        int, typer.Option(min=0, show_default=False, help="At most this many images per condition; 0 for all.")
    ] = 0,
    seed: Seed = 0,
    batch_size: Annotated[
        int,
        typer.Option(
            min=0, show_default=False, help="Images held at a time; 0 fits the memory. Never changes a number."
        ),
    ] = 0,
    tile: Annotated[
        int, typer.Option(min=0, show_default=False, help="Images per network call; 0 chooses by image size. Recorded.")
    ] = 0,
    device: Device = "auto",
    dtype: Annotated[
        Dtype, typer.Option(help="auto: float32 on the CPU; on a GPU a float16 denoiser, float32 classifiers.")
    ] = Dtype.auto,
    denoiser_dtype: Annotated[
        Dtype, typer.Option(show_default=False, help="The denoiser's own arithmetic. [default: as --dtype]")
    ] = (Dtype.auto),
    compiled: Annotated[
        bool, typer.Option("--compile", help="torch.compile the networks: minutes to start, then faster. Recorded.")
    ] = False,
    workers: Workers = "auto",
    on_bad_image: Annotated[
        OnBadImage,
        typer.Option(
            help="skip leaves out what cannot be read, images and other files: the records are partial and say so."
        ),
    ] = OnBadImage.stop,
    out: Annotated[Path, typer.Option(help="Folder for the records.")] = RESULTS / "local",
    weights: Files = [],  # noqa: B006
    shard: Annotated[str, typer.Option(help="i/n: the i-th of n processes that share --out, from 0.")] = "0/1",
    plugin: Plugin = [],  # noqa: B006
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print what would be computed and how long it takes.")
    ] = False,
    fresh: Annotated[bool, typer.Option("--fresh", help="Compute again what is already on disk.")] = False,
) -> None:
    """Evaluate classifiers under test-time methods on benchmarks, and print the leaderboard.

    Without options: every bundled classifier with `default` and `de` on the embedded corruption benchmark, on every
    sixth test image. Stopped runs go on where they were when the same command is given again.

    Examples: `harness run --full`, `harness run --suite digits --suite digits-c --tta dda`,
    `harness run --plugin mine.py --model mine`.
    """
    from harness import console, evaluate, plugins, record
    from harness.claims import Shard
    from harness.prepare import prepare
    from harness.report import leaderboard
    from harness.weights import check_name

    plugins.discover(*plugin)
    give(weights)
    claims = Shard(*shares_of(shard))
    device = usable_device(device)
    step = every or (1 if full else 0 if suite else QUICK)
    common: dict[str, Any] = {"seed": seed, "limit": limit, "device": device, "compile": compiled}
    common |= precisions(dtype, denoiser_dtype, device)
    options = {"severity": severity, "data": data, "sigma": sigma, "radii": radii}
    suites = configured(suite or ["digits-c"], options)
    procedures = {plugins.method.kind: tta, plugins.smoother.kind: smooth, plugins.detector.kind: detector}
    check_axes(suites, procedures)
    for name, registry in [*((m, plugins.model) for m in model), *([(denoiser, plugins.denoiser)] if denoiser else [])]:
        check_name(name, registry)
    fetch([*model, denoiser or ""])
    specs = [spec_of(name, model, procedures, denoiser, tile, step, common) for name in suites]
    skip_bad = on_bad_image is OnBadImage.skip
    jobs = [prepare(spec, out, skip_bad=skip_bad) for spec in dict.fromkeys(specs)]
    _say_unusual(jobs)
    if dry_run:
        console.show(_estimates(jobs, claims))
        return
    whole = "--full" if not suite else "--every 1"
    for stride in dict.fromkeys(job.spec.stride for job in jobs if job.spec.every > 1):
        console.err.print(
            f"Evaluating {stride} test image of each condition. The whole test set: {whole}.", soft_wrap=True
        )
    written = []
    with console.progress() as bar:
        for job in jobs:
            tasks: dict[str, Any] = {}

            def report(t: evaluate.Tick, job: Any = job, tasks: dict[str, Any] = tasks) -> None:
                if t.stage not in tasks:
                    tasks[t.stage] = bar.begin(t.stage or record.benchmark(job.spec.suite), t.total)
                bar.update(tasks[t.stage], completed=t.done, computed=t.computed, info=_info(t))

            written += evaluate.run(
                job,
                batch_size=batch_size,
                claims=claims,
                fresh=fresh,
                workers=threads(workers, job.datasets.values()),
                report=report,
            )
    for entries in leaderboard.boards(leaderboard.readable(written, console.leave_out)).values():
        console.show(leaderboard.ranking(entries))
    missing = sum(len(job.pairs) for job in jobs) - len(written)
    if missing:
        console.out.print(f"Shard {shard} is done; {missing} record(s) wait for the other shards.")
    console.out.print(f"Records written or found in {out}: {len(written)}.")
    if len(written) > 1:
        console.out.print(f"Compare two: harness compare MODEL:METHOD MODEL:METHOD --results {out} --suite SUITE")


def _info(tick: Tick) -> str:
    """What the bar says of a run's progress: the condition, and at the end what it waited for."""
    if tick.stage or tick.done < tick.total:
        return tick.condition
    return f"{tick.waiting:.0%} of it waiting for data"


def _say_unusual(jobs: list[Any]) -> None:
    """Tell of weights that stand under a published model's name and are others."""
    from harness import console

    found = {name: info for job in jobs for name, info in job.models.items()}
    for name, info in found.items():
        if info.details.get("as_published") == "no":
            console.err.print(
                f"{name}: {info.source} is not the published file (its SHA-256 begins with {info.sha256[:12]}): these "
                "are numbers of other weights, and the record says so.",
                markup=False,
            )


def _estimates(jobs: list[Any], claims: Claims) -> Any:
    from harness import plugins
    from harness.estimate import Estimate, estimate
    from harness.report.table import Table

    def most(e: Estimate) -> str:
        return "at most " if e.at_most else ""

    found = [(job, estimate(job, claims)) for job in jobs]
    rows = [
        ["models", *("\n".join(job.spec.models) for job, _ in found)],
        ["methods", *("\n".join(job.spec.methods) for job, _ in found)],
        ["conditions", *(f"{e.conditions:,}" for _, e in found)],
        ["images", *(f"{e.images:,}" for _, e in found)],
        ["not yet on disk", *(f"{e.missing:,}" for _, e in found)],
        ["classifier calls", *(f"{most(e)}{e.classifier_calls:,}" for _, e in found)],
        ["denoiser calls", *(f"{most(e)}{e.denoiser_calls:,}" for _, e in found)],
        ["time", *(f"{most(e)}{e.seconds / 60:.1f} min" for _, e in found)],
    ]
    caption = "Calls are of single images. Time from a short measurement on this machine"
    learns = any(plugins.detector.kind in plugins.AXES[job.suite.axis].kinds for job, _ in found)
    caption += ", without what detectors learn and are tuned on first." if learns else "."
    return Table("Dry run", ["", *(job.spec.suite for job in jobs)], rows, caption, multiline=True)
