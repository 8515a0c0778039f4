"""``harness train``."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness.api.machine import usable_device
from harness.api.weight_files import fetch_missing, weight_files_of
from harness.base.errors import Absent, HarnessError
from harness.cli import next_commands
from harness.cli.options import Device, Files, Plugin
from harness.cli.settings import Settings, with_settings
from harness.train.spec import TASK, TrainSpec, flag

if TYPE_CHECKING:
    from harness.models.published.locate import WeightFiles
    from harness.train.loop import TrainingProgress
    from harness.train.recipes import Recipe


TIMED = 4
"""Steps from whose time the time of a training is estimated at its start."""


@dataclass(frozen=True)
class Subject:
    """Options that name what to train."""

    architecture: Annotated[
        str,
        typer.Option(
            "--architecture",
            "--model",
            show_default=False,
            help="Architecture: see harness list architectures.",
            rich_help_panel=TASK,
        ),
    ] = ""
    denoiser: Annotated[
        bool,
        typer.Option(
            "--denoiser",
            help="Train a diffusion model; without --architecture of the default architecture.",
            rich_help_panel=TASK,
        ),
    ] = False
    recipe: Annotated[
        str,
        typer.Option(
            show_default=False,
            help="Published settings, by name (harness list recipes) or TOML file; other options change them.",
            rich_help_panel=TASK,
        ),
    ] = ""


@dataclass(frozen=True)
class TrainExecution:
    """Options that are not part of the specification: the machine, and the files that a training reads and writes."""

    device: Device = "auto"
    workers: Annotated[int, typer.Option(min=0, help="Processes that read and augment ahead of time.")] = 0
    tensorboard: Annotated[bool, typer.Option("--tensorboard", help="Write TensorBoard scalars too.")] = False
    out: Annotated[
        Path | None, typer.Option(help="Folder for state, checkpoint, card and log. [default: runs/NAME]")
    ] = None
    weights: Files = field(default_factory=list)
    plugin: Plugin = field(default_factory=list)
    fresh: Annotated[bool, typer.Option("--fresh", help="Start over instead of resuming.")] = False
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print every setting, the steps and an estimate; train nothing.")
    ] = False

    @property
    def files(self) -> list[str]:
        """The options that name a user's files, as a command repeats them."""
        return self.plugins + [word for text in self.weights for word in ("--weights", text)]

    @property
    def plugins(self) -> list[str]:
        """The options that name plugin files."""
        return [word for file in self.plugin for word in ("--plugin", str(file))]


@with_settings
def train(
    context: typer.Context,
    subject: Subject,
    execution: TrainExecution,
    settings: Settings[TrainSpec],
) -> None:
    """Train a classifier or a diffusion model; the result runs at once with `harness run --model PATH`.

    A killed run goes on from its last saved state and ends with the weights of an undisturbed one. Several GPUs or
    processes train together under torchrun: `torchrun --nproc-per-node 8 -m harness train ...`.

    Examples: `harness train --architecture vit --diffaug`, `harness train --architecture resnet --augmix --deepaugment
    autoencoder --diffaug`, `harness train --denoiser`.
    """
    from harness import plugins
    from harness.train import recipes

    plugins.discover(*execution.plugin)
    weight_files = weight_files_of(execution.weights)
    recipe = recipes.load(subject.recipe) if subject.recipe else None
    explicit = {name: value for name, value in settings.items() if _is_explicit(context, name)}
    spec = _specification(subject, recipe, explicit, execution.device)
    if execution.dry_run:
        return _plan(spec, recipe, spec.command(execution.files), weight_files)
    fetch_missing([spec.init], weight_files)
    out = execution.out or Path("runs") / (Path(subject.recipe).name.removesuffix(".toml") or spec.name)
    _train(spec, recipe, out, execution, weight_files)


def _specification(subject: Subject, recipe: Recipe | None, explicit: Mapping[str, Any], device: str) -> TrainSpec:
    """The settings of the recipe, changed by the options that were given, and resolved."""
    from harness.train import recipes, resolve

    settings = {**(recipe.settings if recipe else {}), **explicit}
    settings["model"] = subject.architecture or settings.get("model", "")
    if recipe and (lacking := [flag(name) for name in recipe.needs if not settings.get(name)]):
        raise HarnessError(f"The recipe {recipe.name!r} lacks {' and '.join(lacking)}. {recipe.notes}".strip())
    if not settings["model"] and not subject.denoiser:
        raise HarnessError(
            "Say what to train: --architecture NAME, --recipe NAME, or --denoiser for the default denoiser."
        )
    settings["model"] = settings["model"] or resolve.default_denoiser()
    if recipe:
        dataset = settings.get("dataset", TrainSpec.dataset)
        settings = {**recipes.completing(recipe, settings["model"], dataset), **settings}
    spec = resolve.resolve(TrainSpec(**{**settings, "device": usable_device(device)}))
    if subject.denoiser and spec.kind != "denoiser":
        raise HarnessError(
            f"--denoiser --architecture {spec.model}: that architecture makes a {spec.kind}. Leave one out."
        )
    return spec


def _train(
    spec: TrainSpec, recipe: Recipe | None, out: Path, execution: TrainExecution, weight_files: WeightFiles
) -> None:
    """Train under a progress bar, and print the quality and the use of the result."""
    from harness.terminal import console
    from harness.train import run
    from harness.train.kinds import kind_of

    if os.environ.get("RANK", "0") != "0":  # of several processes the first one prints
        run.run(spec, out, workers=execution.workers, weight_files=weight_files)
        return
    with console.progress() as bar:
        card = run.run(
            spec,
            out,
            _reporter(bar, spec, [spec.command(execution.files), *_origin(spec, recipe)], out),
            fresh=execution.fresh,
            workers=execution.workers,
            tensorboard=execution.tensorboard,
            files=execution.files,
            weight_files=weight_files,
        )
    if card:
        kind = kind_of(spec)
        console.out.print(kind.outcome(card))
        console.out.print(_where_the_time_went(card))
        use = " ".join([kind.use.format(out), *next_commands.where(kind.use, spec), *execution.plugins])
        console.out.print(f"{card['steps']} steps in {card['seconds']:.0f} s. Use it: {use}")
        if attack := next_commands.attacking(spec, out):
            console.out.print(f"Attack it: {' '.join([attack, *execution.plugins])}")


def _origin(spec: TrainSpec, recipe: Recipe | None) -> Sequence[str]:
    """Sentences on the settings that no option names."""
    from harness.train import defaults

    return recipe.remarks if recipe else [defaults.source(spec.model, spec.dataset)]


def _reporter(bar: Any, spec: TrainSpec, opening: Sequence[str], out: Path) -> Callable[[TrainingProgress], None]:
    """The function that shows a training's progress: first the lines of `opening`, then losses and shares of time.

    After the first few steps it prints the time that the others will take.
    """
    from harness.terminal import console
    from harness.train.estimate import spell

    times: list[float] = []

    def report(step: TrainingProgress) -> None:
        if not bar.tasks:
            console.err.print("\n".join([*opening, f"State, checkpoint and card go to {out}."]), soft_wrap=True)
            if step.start:
                console.err.print(f"Going on after step {step.start:,} of {step.steps:,}.")
            bar.begin(spec.name)
        times.append(time.monotonic())
        if len(times) == TIMED + 2:  # without the first step, which is slower
            seconds = median(b - a for a, b in pairwise(times[1:])) * (step.steps - step.step)
            console.err.print(f"About {spell(seconds)} until the last step.")
        losses = [f"{name} {value:.3f}" for name, value in step.losses.items()]
        shares = [f"{name} {share:.0%}" for name, share in step.shares.items() if share >= 0.01]
        bar.update(
            bar.tasks[0].id,
            total=step.steps * step.images,
            completed=step.step * step.images,
            computed=(step.step - step.start) * step.images,
            info=" ".join([*losses, *shares]),
        )

    return report


def _plan(spec: TrainSpec, recipe: Recipe | None, command: str, weight_files: WeightFiles) -> None:
    """Print the settings, the steps and the time of a training, as far as its data and weights are available."""
    from harness.report.table import Table
    from harness.terminal import console

    title = f"{recipe.name}: {recipe.about}" if recipe else "Settings"
    rows = [[name, str(value)] for name, value in in_use(spec).items() if value is not False and value not in ("", ())]
    lines = [command, *_origin(spec, recipe), *_prospects(spec, weight_files)]
    console.show(Table(title, ["setting", "value"], rows))
    for line in lines:
        console.out.print(line, soft_wrap=True)


def in_use(spec: TrainSpec) -> dict[str, Any]:
    """The settings of a training by name: those of its card, and defaults of later options whose partner is given."""
    from harness.train.kinds import kind_of

    beside = kind_of(spec).beside.items()
    partnered = {name for name, others in beside if any(getattr(spec, other) for other in others.split(" or "))}
    values = {f.name: getattr(spec, f.name) for f in fields(spec)}
    return {name: value for name, value in values.items() if name in spec.settings or (name in partnered and value)}


def _prospects(spec: TrainSpec, weight_files: WeightFiles) -> list[str]:
    """Sentences on the number of steps and the time, or on what is missing for them."""
    from harness.models.tiles import check_compiler
    from harness.train import build, estimate
    from harness.train.engine.parallel import World
    from harness.train.input import splits

    began = time.monotonic()
    try:
        data, test = splits.open_training(spec), splits.open_split(spec, "test")
    except Absent as error:
        return [f"No estimate: {error}"]
    opening = time.monotonic() - began
    if spec.compile:
        check_compiler(spec.device)
    plan = build.planned(spec, data, World())
    samples = plan.steps * plan.batch_size
    others = f" and {plan.extra:,} of --data-extra" if plan.extra else ""
    lines = [f"{plan.images:,} training images{others}, {plan.steps:,} steps, {samples:,} samples."]
    try:
        expected = estimate.estimate(spec, data, test, weight_files)
    except Absent as error:
        return [*lines, f"No estimate of the time: {error}"]
    parts = f"{expected.step:.3g} s a step, {estimate.spell(expected.measurement)} for the test images"
    if spec.adversarial:
        passes = "pass" if spec.attack_steps == 1 else "passes"
        parts += f", with {spec.attack_steps} forward and backward {passes} of the attack in every step"
    if spec.select:
        parts += f", {estimate.spell(expected.selection)} to select the epoch"
    total = estimate.spell(expected.seconds + opening)
    return [*lines, f"About {total} in one process on this {spec.device}: {parts}."]


def _is_explicit(context: typer.Context, name: str) -> bool:
    """True for an option that is on the command line, even with its default value."""
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def _where_the_time_went(card: dict[str, Any]) -> str:
    """Shares of the time, as measured, and of the rest the estimated share of DiffAug's images in the classifier."""
    shares, spec = card["shares"], card["spec"]
    rest = 1 - sum(shares.values())
    parts = [f"{share:.0%} {name}" for name, share in shares.items() if share >= 0.005]
    if spec["diffaug"]:
        copies = len(spec["data_extra"]) if spec["extra_as"] == "terms" else 0
        parts = [part.replace("diffaug", "denoiser") for part in parts]
        parts.append(f"{rest / (2 + 2 * spec['augmix'] + copies):.0%} denoised images in the classifier")
    return f"Time: {', '.join([*parts, f'{rest:.0%} forward and backward in all'])}."
