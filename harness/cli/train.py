"""``harness train``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.options import Device, Dtype, Plugin, Seed, usable_device
from harness.errors import HarnessError

if TYPE_CHECKING:
    from harness.train.loop import Progress


def train(
    model: Annotated[str | None, typer.Option(help="Architecture: see harness list architectures.")] = None,
    denoiser: Annotated[
        bool, typer.Option("--denoiser", help="Train a diffusion model; without --model of the default architecture.")
    ] = False,
    diffaug: Annotated[bool, typer.Option("--diffaug", help="Add cross-entropy on one-step denoised images.")] = False,
    diffusion: Annotated[
        str,
        typer.Option(show_default=False, help="Denoiser for --diffaug, by name or path. [default: the data set's]"),
    ] = "",
    dataset: Annotated[str, typer.Option(help="What to train on: see harness list datasets.")] = "digits",
    data: Annotated[Path | None, typer.Option(help="Folder of the data, for data sets that read one.")] = None,
    epochs: Annotated[
        int, typer.Option(min=0, show_default=False, help="0, here and below: the architecture's recipe.")
    ] = 0,
    batch_size: Annotated[int, typer.Option(min=0, show_default=False)] = 0,
    lr: Annotated[float, typer.Option(min=0, show_default=False, help="Peak learning rate of AdamW.")] = 0.0,
    weight_decay: Annotated[float, typer.Option(min=0, show_default=False)] = 0.0,
    warmup: Annotated[int, typer.Option(min=0, show_default=False, help="Epochs of linear warm-up.")] = 0,
    smoothing: Annotated[float, typer.Option(min=0, max=1, show_default=False, help="Label smoothing.")] = 0.0,
    ema: Annotated[
        float,
        typer.Option(
            min=0, max=1, show_default=False, help="Decay of the averaged weights; 0 for none or the recipe's."
        ),
    ] = 0.0,
    seed: Seed = 0,
    device: Device = "auto",
    dtype: Annotated[Dtype, typer.Option(help="auto is float32.")] = Dtype.auto,
    out: Annotated[
        Path | None, typer.Option(help="Folder for state, checkpoint and card. [default: runs/NAME]")
    ] = None,
    plugin: Plugin = [],  # noqa: B006
    fresh: Annotated[bool, typer.Option("--fresh", help="Start over instead of resuming.")] = False,
) -> None:
    """Train a classifier or a diffusion model; the result runs at once with `harness run --model PATH`.

    A killed run goes on from its last saved state and ends with the weights of an undisturbed one.

    Examples: `harness train --model vit --diffaug`, `harness train --denoiser`.
    """
    from harness import console, plugins
    from harness.train import run as training
    from harness.train.spec import TrainSpec

    plugins.discover(*plugin)
    if not model and not denoiser:
        raise HarnessError("Say what to train: --model NAME, or --denoiser for the default diffusion model.")
    spec = training.resolve(
        TrainSpec(
            model=model or training.default_denoiser(), dataset=dataset, data=str(data or ""), diffaug=diffaug,
            diffusion=diffusion, epochs=epochs, batch_size=batch_size, lr=lr, weight_decay=weight_decay, warmup=warmup,
            smoothing=smoothing, ema=ema, seed=seed, dtype="float32" if dtype is Dtype.auto else dtype.value,
            device=usable_device(device),
        )
    )  # fmt: skip
    if denoiser and spec.kind != "denoiser":
        raise HarnessError(f"--denoiser --model {spec.model}: that architecture makes a {spec.kind}. Leave one out.")
    out = out or Path("runs") / spec.name
    console.err.print(f"{spec.command()}\nState, checkpoint and card go to {out}.")
    with console.progress() as bar:
        task = bar.begin(spec.name)

        def report(step: Progress) -> None:
            bar.update(
                task,
                total=step.steps * step.images,
                completed=step.step * step.images,
                computed=(step.step - step.start) * step.images,
                info=" ".join(f"{name} {value:.3f}" for name, value in step.losses.items()),
            )

        card = training.run(spec, out, report, fresh=fresh)
    quality = card.get("clean_accuracy")
    if quality:
        low, high = quality["interval"]
        console.out.print(
            f"Clean accuracy {100 * quality['value']:.1f} % [{100 * low:.1f}, {100 * high:.1f}], n = {quality['n']}."
        )
    else:
        errors = ", ".join(f"t={t}: {e:.3f}" for t, e in card["heldout_denoising_rmse"].items())
        console.out.print(f"Held-out one-step denoising RMSE: {errors}.")
    option = "--denoiser" if spec.kind == "denoiser" else "--model"
    console.out.print(f"{card['steps']} steps in {card['seconds']:.0f} s. Use it: {option} {out}")
