"""``harness train``."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable
from dataclasses import Field, asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from harness.cli.options import Device, Files, Plugin, usable_device
from harness.cli.weights import fetch, give
from harness.errors import Absent, HarnessError
from harness.train.spec import TASK, TrainSpec, flag, options

if TYPE_CHECKING:
    from harness.train.loop import Progress
    from harness.train.recipes import Recipe


def with_settings(command: Callable[..., None]) -> Callable[..., None]:
    """The command with an option for every setting of `TrainSpec` in place of its ``**settings``."""
    hints = get_type_hints(command, include_extras=True)
    own = [
        p.replace(annotation=hints[p.name])
        for p in inspect.signature(command).parameters.values()
        if p.kind is not p.VAR_KEYWORD
    ]
    types = get_type_hints(TrainSpec)
    added = [_parameter(name, found, types[name]) for name, found in options().items()]
    command.__signature__ = inspect.Signature([*own, *added])  # type: ignore[attr-defined]
    command.__annotations__ = {p.name: p.annotation for p in [*own, *added]}
    return command


def _parameter(name: str, setting: Field[Any], kind: Any) -> inspect.Parameter:
    told = setting.metadata
    several = kind == tuple[str, ...]
    default = setting.default if not isinstance(setting.default, tuple) else ",".join(map(str, setting.default))
    option = typer.Option(
        flag(name), help=told["help"], rich_help_panel=told["panel"], show_default=bool(default),
        **{limit: told[limit] for limit in ("min", "max") if limit in told},
    )  # fmt: skip
    plain: Any = list[str] if several else str if isinstance(setting.default, tuple) else kind
    annotation = Annotated[plain, option]
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=[] if several else default, annotation=annotation
    )


def _value(name: str, given: Any) -> Any:
    """A setting as the specification wants it."""
    default = options()[name].default
    if isinstance(default, tuple) and isinstance(given, str):
        try:
            return tuple(int(part) for part in given.split(","))
        except ValueError:
            raise HarnessError(f"{flag(name)} {given!r}: give whole numbers with a comma, such as 0,500.") from None
    return tuple(given) if isinstance(given, list) else given


@with_settings
def train(
    context: typer.Context,
    model: Annotated[
        str,
        typer.Option(show_default=False, help="Architecture: see harness list architectures.", rich_help_panel=TASK),
    ] = "",
    denoiser: Annotated[
        bool,
        typer.Option(
            "--denoiser",
            help="Train a diffusion model; without --model of the default architecture.",
            rich_help_panel=TASK,
        ),
    ] = False,
    recipe: Annotated[
        str,
        typer.Option(
            show_default=False,
            help="Published settings, by name (harness list recipes) or TOML file; other options change them.",
            rich_help_panel=TASK,
        ),
    ] = "",
    device: Device = "auto",
    workers: Annotated[int, typer.Option(min=0, help="Processes that read and augment ahead of time.")] = 0,
    tensorboard: Annotated[bool, typer.Option("--tensorboard", help="Write TensorBoard scalars too.")] = False,
    out: Annotated[
        Path | None, typer.Option(help="Folder for state, checkpoint, card and log. [default: runs/NAME]")
    ] = None,
    weights: Files = [],  # noqa: B006
    plugin: Plugin = [],  # noqa: B006
    fresh: Annotated[bool, typer.Option("--fresh", help="Start over instead of resuming.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print every setting, the steps and an estimate; train nothing.")
    ] = False,
    **settings: Any,
) -> None:
    """Train a classifier or a diffusion model; the result runs at once with `harness run --model PATH`.

    A killed run goes on from its last saved state and ends with the weights of an undisturbed one. Several GPUs or
    processes train together under torchrun: `torchrun --nproc-per-node 8 -m harness train ...`.

    Examples: `harness train --model vit --diffaug`, `harness train --model resnet --augmix --deepaugment autoencoder
    --diffaug`, `harness train --denoiser`.
    """
    from harness import console, plugins
    from harness.train import recipes, resolve
    from harness.train import run as training
    from harness.train.kinds import kind_of

    plugins.discover(*plugin)
    give(weights)
    started = recipes.load(recipe) if recipe else None
    given = dict(started.settings) if started else {}
    given |= {name: _value(name, value) for name, value in settings.items() if _is_given(context, name)}
    given["model"] = model or given.get("model", "")
    if started and (lacking := [flag(name) for name in started.needs if not given.get(name)]):
        raise HarnessError(f"The recipe {started.name!r} lacks {' and '.join(lacking)}. {started.notes}".strip())
    model = given.pop("model")
    if not model and not denoiser:
        raise HarnessError("Say what to train: --model NAME, --recipe NAME, or --denoiser for the default denoiser.")
    given = {**given, "model": model or resolve.default_denoiser(), "device": usable_device(device)}
    spec = resolve.resolve(TrainSpec(**given))
    if denoiser and spec.kind != "denoiser":
        raise HarnessError(f"--denoiser --model {spec.model}: that architecture makes a {spec.kind}. Leave one out.")
    files = [word for file in plugin for word in ("--plugin", str(file))]
    files += [word for text in weights for word in ("--weights", text)]
    if dry_run:
        return _plan(spec, started, spec.command(files))
    fetch([spec.init])
    out = out or Path("runs") / (Path(recipe).name.removesuffix(".toml") or spec.name)
    if os.environ.get("RANK", "0") != "0":  # of several processes the first one talks
        training.run(spec, out, workers=workers)
        return
    with console.progress() as bar:

        def report(step: Progress) -> None:
            if not bar.tasks:
                console.err.print(f"{spec.command(files)}\nState, checkpoint and card go to {out}.", soft_wrap=True)
                if step.start:
                    console.err.print(f"Going on after step {step.start:,} of {step.steps:,}.")
                bar.begin(spec.name)
            shares = (f"{name} {share:.0%}" for name, share in step.shares.items() if share >= 0.01)
            bar.update(
                bar.tasks[0].id,
                total=step.steps * step.images,
                completed=step.step * step.images,
                computed=(step.step - step.start) * step.images,
                info=" ".join([*(f"{name} {value:.3f}" for name, value in step.losses.items()), *shares]),
            )

        card = training.run(spec, out, report, fresh=fresh, workers=workers, tensorboard=tensorboard, files=files)
    if card:
        kind = kind_of(spec)
        console.out.print(kind.outcome(card))
        console.out.print(_where_the_time_went(card))
        console.out.print(f"{card['steps']} steps in {card['seconds']:.0f} s. Use it: {kind.use.format(out)}")


def _plan(spec: TrainSpec, recipe: Recipe | None, command: str) -> None:
    """Show what would be trained, and what it would take, as far as data and weights are here to tell."""
    from harness import console
    from harness.networks import check_compiler
    from harness.report.table import Table
    from harness.train import build, estimate
    from harness.train.engine.parallel import World
    from harness.train.input import splits

    title = f"{recipe.name}: {recipe.about}" if recipe else "Settings"
    rows = [[name, str(value)] for name, value in asdict(spec).items() if value is not False and value not in ("", ())]
    console.show(Table(title, ["setting", "value"], rows))

    def say(text: str) -> None:
        console.out.print(text, soft_wrap=True)

    for line in [command, *(recipe.told if recipe else ())]:
        say(line)
    try:
        data = splits.open_training(spec)
        splits.open_split(spec, "test")
    except Absent as error:
        return say(f"No estimate: {error}")
    if spec.compile:
        check_compiler(spec.device)
    plan = build.planned(spec, data, World())
    samples = plan.steps * plan.batch_size
    say(f"{plan.images:,} training images, {plan.steps:,} steps, {samples:,} samples.")
    try:
        seconds = estimate.seconds(spec, data)
    except Absent as error:
        return say(f"No estimate of the time: {error}")
    say(f"About {estimate.spell(seconds)} in one process on this {spec.device}.")


def _is_given(context: typer.Context, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def _where_the_time_went(card: dict[str, Any]) -> str:
    """Shares of the time: what was timed, and of the rest what DiffAug's images took in the classifier."""
    shares, spec = card["shares"], card["spec"]
    rest = 1 - sum(shares.values())
    parts = [f"{share:.0%} {name}" for name, share in shares.items() if share >= 0.005]
    if spec["diffaug"]:
        copies = len(spec["data_extra"]) if spec["extra_as"] == "terms" else 0
        parts = [part.replace("diffaug", "denoiser") for part in parts]
        parts.append(f"{rest / (2 + 2 * spec['augmix'] + copies):.0%} denoised images in the classifier")
    return f"Time: {', '.join([*parts, f'{rest:.0%} forward and backward in all'])}."
