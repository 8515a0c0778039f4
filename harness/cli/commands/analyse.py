"""``harness analyse``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.api.machine import usable_device
from harness.base.errors import HarnessError
from harness.cli.options import Device, Files, Plugin, Seed

if TYPE_CHECKING:
    from harness.analysis.features import AnalyseSpec

app = typer.Typer(help="Analyse features of classifiers and of diffusion models.", no_args_is_help=True)

Models = Annotated[list[str], typer.Argument(metavar="MODEL...", help="Classifiers, by name or path.")]
DenoiserName = Annotated[str, typer.Argument(metavar="DENOISER", help="Diffusion model, by name or path.")]
DataName = Annotated[str, typer.Option("--dataset", help="Data set: see harness list datasets.")]
Root = Annotated[Path | None, typer.Option(help="Its folder, for data sets that read one.")]
Analyses = Annotated[
    list[str], typer.Option(help="probe, pca, rank, sphere or sae. Repeatable; all without.", show_default=False)
]
Limit = Annotated[int, typer.Option(min=0, help="Images of each split at most, by a keyed draw; 0: all.")]
Active = Annotated[str, typer.Option("--sae-k", help="Latents that one image may use, with commas.")]
Seeds = Annotated[int, typer.Option("--sae-seeds", min=2, help="Trainings of each sparse autoencoder.")]
Steps = Annotated[int, typer.Option("--sae-steps", min=1, help="Steps of each of these trainings.")]
Times = Annotated[str, typer.Option(help="Diffusion times, with commas.")]
Layer = Annotated[str, typer.Option(help="Layer of the diffusion model: middle, or its name there.")]
Out = Annotated[Path | None, typer.Option(help="File for the record, JSON.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Print images, trainings and an estimate of the time.")]


@app.command("features")
def features(
    models: Models,
    dataset: DataName = "digits",
    data: Root = None,
    analysis: Analyses = [],  # noqa: B006
    limit: Limit = 10_000,
    sae_k: Active = "8,16,32,64",
    sae_seeds: Seeds = 3,
    sae_steps: Steps = 500,
    seed: Seed = 0,
    device: Device = "auto",
    weights: Files = [],  # noqa: B006
    plugin: Plugin = [],  # noqa: B006
    out: Out = None,
    dry_run: DryRun = False,
) -> None:
    """Analyse penultimate features of classifiers: what they separate, how they spread, how sparse codes rebuild them.

    probe: accuracy of a linear probe. pca: number of principal components that such a probe needs. rank: RankMe and
    participation ratio. sphere: class alignment and uniformity. sae: errors of TopK sparse autoencoders. Probes and
    autoencoders learn from the training split; every number is of the test split and has its interval.

    The definitions are in docs/analysis.md. A paper may mean another quantity by the same word.

    Examples: `harness analyse features digits/resnet digits/vit --out analysis.json`,
    `harness analyse features runs/mine --analysis probe --analysis rank`
    """
    from harness import plugins
    from harness.analysis.features import AnalyseSpec
    from harness.analysis.sparse_autoencoder import SparseCodes
    from harness.api.analysis.analyse import analysed
    from harness.report.posthoc.analysed import analysis_table
    from harness.terminal import console

    plugins.discover(*plugin)
    sparse = SparseCodes(_numbers("--sae-k", sae_k), seeds=sae_seeds, steps=sae_steps)
    spec = AnalyseSpec(
        tuple(models), dataset, str(data or ""), tuple(analysis), limit, sparse=sparse, seed=seed,
        device=usable_device(device),
    )  # fmt: skip
    if dry_run:
        return _plan(spec, weights)
    console.show(analysis_table(analysed(spec, weights, out)))


@app.command("denoiser")
def denoiser(
    name: DenoiserName,
    dataset: DataName = "digits",
    data: Root = None,
    times: Times = "0,25,50,100,150,200,300,400",
    layer: Layer = "middle",
    limit: Limit = 10_000,
    seed: Seed = 0,
    device: Device = "auto",
    weights: Files = [],  # noqa: B006
    plugin: Plugin = [],  # noqa: B006
    out: Out = None,
) -> None:
    """Find the diffusion time at which a linear probe of a diffusion model's layer is best.

    The probe sees the means over positions of the layer's output for noisy training images, and is cross-validated over
    these: the test images stay unseen. `harness train --align dra --align-time T` takes the time.

    Example: `harness analyse denoiser digits --times 0,50,100,200`
    """
    from harness import plugins
    from harness.analysis.times import TimesSpec
    from harness.api.analysis.analyse import analysed_times
    from harness.report.posthoc.analysed import times_table
    from harness.terminal import console

    plugins.discover(*plugin)
    spec = TimesSpec(
        name, dataset, str(data or ""), _numbers("--times", times), layer, limit, seed, usable_device(device)
    )
    console.show(times_table(analysed_times(spec, weights, out)))


def _numbers(option: str, text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise HarnessError(f"{option} {text!r}: give whole numbers with commas, such as 8,16.") from None


def _plan(spec: AnalyseSpec, weights: list[str]) -> None:
    """Print the images, trainings and time of an analysis, after looking up every name."""
    from harness import plugins
    from harness.analysis.estimate import estimate
    from harness.analysis.features import opened
    from harness.api.weight_files import weight_files_of
    from harness.base.errors import Absent
    from harness.models.lookup import check_name
    from harness.terminal import console
    from harness.train.estimate import spell

    for model in spec.models:
        check_name(model, plugins.model)
    train, test = opened(spec)
    count = len(spec.models)
    images = len(train.ids) + len(test.ids)
    console.out.print(
        f"{len(train.ids):,} training and {len(test.ids):,} test images of {spec.dataset}, {count * images:,} "
        f"classifications in all, {count} network(s). Analyses: {', '.join(spec.chosen)}.",
        soft_wrap=True,
    )
    if "sae" in spec.chosen:
        sparse = spec.sparse
        trainings = count * len(sparse.active) * sparse.seeds
        console.out.print(
            f"{trainings:,} sparse autoencoders of {sparse.steps:,} steps with {min(sparse.batch, len(train.ids))} "
            f"images each, {sparse.width} latents for each feature.",
            soft_wrap=True,
        )
    try:
        expected = estimate(spec, train, test, weight_files_of(weights))
    except Absent as error:
        console.out.print(f"No estimate of the time: {error}", soft_wrap=True)
        return
    parts = ", ".join(f"{name} {spell(seconds)}" for name, seconds in expected.analyses.items())
    console.out.print(
        f"About {spell(expected.seconds)} on this {spec.device}: {spell(expected.features)} for features that are "
        f"not kept yet, {parts}.",
        soft_wrap=True,
    )
