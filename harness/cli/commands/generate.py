"""``harness generate``."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness.cli.options import Device, Files, Plugin, Seed, shares_of
from harness.cli.settings import with_settings

if TYPE_CHECKING:
    from harness.generation.job import Generation

WHAT, SAMPLER, HOW = "What to generate", "Sampler", "Noise and arithmetic"


class SamplerName(StrEnum):
    """Samplers."""

    ddim = "ddim"
    ancestral = "ancestral"


class VarianceName(StrEnum):
    """Variances of the ancestral sampler."""

    auto = "auto"
    learned = "learned"
    fixed_small = "fixed_small"
    fixed_large = "fixed_large"


class DtypeName(StrEnum):
    """Arithmetic of the networks."""

    float32 = "float32"
    bfloat16 = "bfloat16"
    float16 = "float16"


def _panel(panel: str, help: str, **more: Any) -> Any:
    return typer.Option(help=help, rich_help_panel=panel, **more)


@dataclass(frozen=True)
class Subjects:
    """Options that name what is generated, and by which networks."""

    guide: Annotated[
        str,
        _panel(
            WHAT,
            "none, classifier, denoised, cfg or a plugin, with settings, such as classifier:scale=2: see harness list "
            "guides. [default: classifier, else denoised, at the scale of the data set's classifier for it]",
        ),
    ] = ""
    model: Annotated[
        str, _panel(WHAT, "The guide's classifier: a name, or a checkpoint's path. [default: the data set's]")
    ] = ""
    denoiser: Annotated[str, _panel(WHAT, "Diffusion model: a name or path. [default: the data set's]")] = ""
    dataset: Annotated[
        str, _panel(WHAT, "Gives the classes, the size and the defaults: see harness list datasets.")
    ] = "digits"
    data: Annotated[str, _panel(WHAT, "Folder of the data set, where its classes lie in it.")] = ""
    samples: Annotated[int, _panel(WHAT, "Number of images.", min=1)] = 100
    classes: Annotated[
        str, _panel(WHAT, "balanced; random, as in guided-diffusion; or names or numbers in turn: 3,5.")
    ] = "balanced"


@dataclass(frozen=True)
class SamplerOptions:
    """Settings of the sampler: see `harness.types.Sampling`."""

    sampler: Annotated[SamplerName, _panel(SAMPLER, "ddim, or ancestral (DDPM).")] = SamplerName.ddim
    steps: Annotated[
        str,
        _panel(SAMPLER, "250: first and last time included; ddim25: whole stride. [default: ddim25; ancestral 250]"),
    ] = ""
    eta: Annotated[
        float | None, _panel(SAMPLER, "Noise of DDIM, 0 to 1. [default: the denoiser's, or else 0]", min=0, max=1)
    ] = None
    variance: Annotated[
        VarianceName, _panel(SAMPLER, "Of the ancestral sampler; auto: learned where the network has it.")
    ] = VarianceName.auto


@dataclass(frozen=True)
class Arithmetic:
    """Options of the machine that decide pixels, and are recorded."""

    seed: Seed = 0
    dtype: Annotated[DtypeName, _panel(HOW, "Arithmetic of all networks. Recorded.")] = DtypeName.float32
    tile: Annotated[int, _panel(HOW, "Samples per network call; 0 chooses by image size. Recorded.", min=0)] = 0
    compile: Annotated[bool, _panel(HOW, "torch.compile the networks. Recorded.")] = False
    device: Device = "auto"


@dataclass(frozen=True)
class GenerateExecution:
    """Options that decide no pixel."""

    out: Annotated[
        Path | None, typer.Option(help="Folder of the results. [default: runs/generate/ and a name for the settings]")
    ] = None
    images: Annotated[bool, typer.Option("--images", help="Also write images/CLASS/ID.png.")] = False
    batch_size: Annotated[
        int, typer.Option(min=0, show_default=False, help="Samples put on disk at a time; 0: a tile. Changes no pixel.")
    ] = 0
    shard: Annotated[str, typer.Option(help="i/n: the i-th of n processes that share --out, from 0.")] = "0/1"
    plugin: Plugin = field(default_factory=list)
    weights: Files = field(default_factory=list)
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the settings, network calls and time.")] = False
    fresh: Annotated[bool, typer.Option("--fresh", help="Delete the results in --out and start over.")] = False


@with_settings
def generate(subjects: Subjects, sampler: SamplerOptions, arithmetic: Arithmetic, execution: GenerateExecution) -> None:
    """Generate images of classes with a diffusion model that a guide steers.

    The noise of a sample depends on its number and --seed alone: samples of two guides can be compared one by one. Left
    are `samples.npz` (OpenAI's layout: arr_0 images, arr_1 labels), `grid.png` (a row per class) and `card.json`. A
    stopped run goes on where it was when the same command is given again.

    Examples: `harness generate`, `harness generate --guide classifier:scale=4 --model my.safetensors`,
    `harness generate --guide denoised:scale=2 --model digits/resnet`, `harness generate --guide none --sampler
    ancestral --dry-run`, `harness generate --samples 1000 --images --out extra`.
    """
    from harness import plugins
    from harness.api.generation.generate import generated, prepared, specification

    plugins.discover(*execution.plugin)
    shares = shares_of(execution.shard)
    settings = {**vars(subjects), **vars(arithmetic), "dtype": arithmetic.dtype.value}
    chosen = sampler.sampler.value, sampler.steps, sampler.eta, sampler.variance.value
    job, out = prepared(specification(settings, *chosen), execution.weights, execution.out)
    if execution.dry_run:
        _show_plan(job, out)
        return
    card = generated(
        job, out, batch_size=execution.batch_size, shard=shares, images=execution.images, fresh=execution.fresh
    )  # fmt: skip
    _show_outcome(job, out, card, execution.images)


def _show_plan(job: Generation, out: Path) -> None:
    """Print what would be computed, and how long it takes."""
    from harness.generation.estimate import seconds, tally
    from harness.generation.run import missing
    from harness.report.table import Table
    from harness.terminal import console

    lacking = missing(job, out)
    spec, calls = job.spec, tally(job).times(lacking)
    rows = [
        ["guide", spec.guide],
        *([["model", spec.model]] if spec.model else []),
        ["denoiser", spec.denoiser],
        ["sampler", f"{spec.sampling.sampler}, {len(job.times)} steps, t = {job.times[-1]} to {job.times[0]}"],
        ["samples", f"{spec.samples:,} of {job.side}x{job.side} pixels, classes {spec.classes}"],
        ["not yet on disk", f"{lacking:,}"],
        *([f"calls: {name}", f"{number:,}"] for name, number in calls.items() if number),
        ["time", f"{seconds(job, lacking) / 60:.1f} min"],
        ["folder", str(out)],
    ]
    caption = (
        "Calls are of single images; gradients are backward passes. Time from a short measurement on this machine."
    )
    console.show(Table("Dry run", ["", ""], rows, caption))


def _show_outcome(job: Generation, out: Path, card: dict[str, Any] | None, images: bool) -> None:
    """Say what was written. card: None where other shards have not finished."""
    from harness.generation.outputs import CARD, GRID, IMAGES, SAMPLES
    from harness.terminal import console

    if card is None:
        console.out.print(f"This shard's samples are in {out}. Other shards make the rest.", soft_wrap=True)
        return
    files = ", ".join([SAMPLES, GRID, CARD, *([f"{IMAGES}/"] if images else [])])
    spent = f"{card['calls']['denoiser']:,} denoiser calls, {card['seconds']:,.0f} s"
    console.out.print(f"{job.spec.samples:,} samples in {out}: {files}. {spent}.", soft_wrap=True)
