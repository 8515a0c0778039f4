"""The command line: arguments to specifications, and nothing else."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from harness.types import HarnessError

RESULTS = Path("results")
QUICK = 6

app = typer.Typer(
    name="harness",
    help="Benchmark the robustness of image classifiers: covariate shift, test-time methods, paired statistics.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    add_completion=False,
)

Plugin = Annotated[list[Path], typer.Option("--plugin", help="Python file with plugins of your own. Repeatable.")]
Device = Annotated[str, typer.Option(help="cpu, cuda, cuda:1, mps.")]
Seed = Annotated[int, typer.Option(help="Seed of everything random.")]


class Dtype(StrEnum):
    """Arithmetic of the networks."""

    auto = "auto"
    float32 = "float32"
    bfloat16 = "bfloat16"
    float16 = "float16"


class Kind(StrEnum):
    """What `harness list` lists."""

    models = "models"
    tta = "tta"
    suites = "suites"
    denoisers = "denoisers"
    datasets = "datasets"
    architectures = "architectures"


@app.command()
def run(
    suite: Annotated[list[str], typer.Option(help="Benchmark, with settings: digits-c:severity=1,3. Repeatable.")] = [],  # noqa: B006
    model: Annotated[
        list[str],
        typer.Option(
            help="Registered name or path of a checkpoint. Repeatable. [default: all of the suite's data set]"
        ),
    ] = [],  # noqa: B006
    tta: Annotated[
        list[str],
        typer.Option(help="Test-time method, with settings: de:times=0,100. Repeatable. [default: default, de]"),
    ] = [],  # noqa: B006
    data: Annotated[Path | None, typer.Option(help="Folder of the data, for suites that read one.")] = None,
    denoiser: Annotated[
        str | None, typer.Option(help="Diffusion model, by name or path. [default: the suite's]")
    ] = None,
    severity: Annotated[str | None, typer.Option(help="Severities of a corruption suite: 5, or 1,2,3,4,5.")] = None,
    full: Annotated[bool, typer.Option("--full", help="The whole test set also without --suite.")] = False,
    every: Annotated[int, typer.Option(min=0, help="Every k-th test image. [default: 1; without --suite 6]")] = 0,
    limit: Annotated[int, typer.Option(min=0, help="At most this many images per condition; 0 for all.")] = 0,
    seed: Seed = 0,
    batch_size: Annotated[
        int, typer.Option(min=0, help="Images held at a time; 0 fits the memory. Never changes a number.")
    ] = 0,
    tile: Annotated[int, typer.Option(min=0, help="Images per network call; 0 chooses by image size. Recorded.")] = 0,
    device: Device = "cpu",
    dtype: Annotated[
        Dtype, typer.Option(help="auto: float32 on the CPU; on a GPU a float16 denoiser, float32 classifiers.")
    ] = Dtype.auto,
    out: Annotated[Path, typer.Option(help="Folder for the records.")] = RESULTS / "local",
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
    from harness import console, evaluate, leaderboard, plugins, record

    plugins.discover(*plugin)
    shares = _shard(shard)
    step = every or (1 if suite or full else QUICK)
    common: dict[str, Any] = {"seed": seed, "every": step, "limit": limit, "device": _device(device)}
    common |= _dtypes(dtype, device)
    specs = [_spec(name, model, tta, data, denoiser, severity, tile, common) for name in suite or ["digits-c"]]
    record.check_writable(out)
    jobs = [evaluate.prepare(spec, out) for spec in specs]
    if dry_run:
        console.show(_estimates(jobs, shares))
        return
    if step > 1:
        whole = "--full" if not suite else "--every 1"
        console.err.print(
            f"Evaluating a subset: every {step}th test image of each condition. The whole test set: {whole}."
        )
    written = []
    with console.progress() as bar:
        for job in jobs:
            task = bar.add_task(
                job.spec.suite, total=sum(len(p.indices) for p in job.parts[shares[0] :: shares[1]]), info=""
            )
            report = lambda tick, task=task: bar.update(task, completed=tick.done, info=tick.condition)  # noqa: E731
            written += evaluate.run(job, batch_size=batch_size, shard=shares, fresh=fresh, report=report)
    for entries in leaderboard.boards(record.load(path) for path in written).values():
        console.show(leaderboard.ranking(entries))
    missing = sum(len(job.pairs) for job in jobs) - len(written)
    if missing:
        console.out.print(f"Shard {shard} is done; {missing} record(s) wait for the other shards.")
    console.out.print(f"{len(written)} records in {out}. Compare two: harness compare MODEL:METHOD MODEL:METHOD")


@app.command()
def train(
    model: Annotated[str | None, typer.Option(help="Architecture: see harness list architectures.")] = None,
    denoiser: Annotated[
        bool, typer.Option("--denoiser", help="Train a diffusion model instead of a classifier.")
    ] = False,
    diffaug: Annotated[bool, typer.Option("--diffaug", help="Add cross-entropy on one-step denoised images.")] = False,
    diffusion: Annotated[str, typer.Option(help="Denoiser for --diffaug, by name or path.")] = "digits",
    dataset: Annotated[str, typer.Option(help="What to train on: see harness list datasets.")] = "digits",
    data: Annotated[Path | None, typer.Option(help="Folder of the data, for data sets that read one.")] = None,
    epochs: Annotated[int, typer.Option(min=0, help="0, here and below: the architecture's recipe.")] = 0,
    batch_size: Annotated[int, typer.Option(min=0)] = 0,
    lr: Annotated[float, typer.Option(min=0, help="Peak learning rate of AdamW.")] = 0.0,
    weight_decay: Annotated[float, typer.Option(min=0)] = 0.0,
    warmup: Annotated[int, typer.Option(min=0, help="Epochs of linear warm-up.")] = 0,
    smoothing: Annotated[float, typer.Option(min=0, max=1, help="Label smoothing.")] = 0.0,
    ema: Annotated[
        float, typer.Option(min=0, max=1, help="Decay of the averaged weights; 0 for none or the recipe's.")
    ] = 0.0,
    seed: Seed = 0,
    device: Device = "cpu",
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
    if (model is None) != denoiser:
        raise HarnessError("Say what to train: --model NAME for a classifier, or --denoiser for a diffusion model.")
    spec = training.resolve(
        TrainSpec(
            model=model or "unet", dataset=dataset, data=str(data or ""), diffaug=diffaug, diffusion=diffusion,
            epochs=epochs, batch_size=batch_size, lr=lr, weight_decay=weight_decay, warmup=warmup, smoothing=smoothing,
            ema=ema, seed=seed, dtype="float32" if dtype is Dtype.auto else dtype.value, device=_device(device),
        )
    )  # fmt: skip
    out = out or Path("runs") / spec.name
    if fresh:
        (out / "state.pt").unlink(missing_ok=True)
    console.err.print(f"{spec.command()}\nState, checkpoint and card go to {out}.")
    with console.progress() as bar:
        task = bar.add_task(spec.name, total=None, info="")

        def report(step: Any) -> None:
            losses = " ".join(f"{name} {value:.3f}" for name, value in step.losses.items())
            bar.update(task, total=step.steps * step.images, completed=step.step * step.images, info=losses)

        card = training.run(spec, out, report)
    quality = card.get("clean_accuracy")
    if quality:
        low, high = quality["interval"]
        console.out.print(
            f"Clean accuracy {100 * quality['value']:.1f} % [{100 * low:.1f}, {100 * high:.1f}], n = {quality['n']}."
        )
    else:
        errors = ", ".join(f"t={t}: {e:.3f}" for t, e in card["heldout_denoising_rmse"].items())
        console.out.print(f"Held-out one-step denoising RMSE: {errors}.")
    console.out.print(
        f"{card['steps']} steps in {card['seconds']:.0f} s. Use it: --{'denoiser' if denoiser else 'model'} {out}"
    )


@app.command("list")
def list_plugins(
    kind: Annotated[Kind | None, typer.Argument(help="Leave out for everything.")] = None,
    plugin: Plugin = [],  # noqa: B006
) -> None:
    """List what is there: models, test-time methods, suites, denoisers, data sets, architectures."""
    from harness import console, leaderboard, plugins

    plugins.discover(*plugin)
    registries = {
        Kind.models: plugins.model, Kind.tta: plugins.method, Kind.suites: plugins.suite,
        Kind.denoisers: plugins.denoiser, Kind.datasets: plugins.dataset, Kind.architectures: plugins.architecture,
    }  # fmt: skip
    for name, registry in registries.items():
        if kind in (None, name):
            rows = [[entry.name, entry.summary, entry.settings] for entry in registry.entries()]
            console.show(leaderboard.Table(name.value, ["name", "what it is", "settings"], rows))


@app.command()
def compare(
    a: Annotated[str, typer.Argument(help="MODEL:METHOD, or a record's .json file: the baseline.")],
    b: Annotated[str, typer.Argument(help="The same for the challenger.")],
    suite: Annotated[str | None, typer.Option(help="Suite, where both were run on several.")] = None,
    results: Annotated[Path, typer.Option(help="Folder with records.")] = RESULTS,
    plugin: Plugin = [],  # noqa: B006
) -> None:
    """Compare two records on the same samples: difference, interval, exact McNemar p.

    Example: `harness compare digits/resnet:default digits/resnet+diffaug:de --suite digits-c`
    """
    from harness import console, leaderboard, plugins

    plugins.discover(*plugin)
    records = leaderboard.find(results) if results.is_dir() else []
    result = leaderboard.pair(a, b, records, suite)
    console.show(leaderboard.comparison_table(result))


@app.command("leaderboard")
def show_leaderboard(
    suite: Annotated[str | None, typer.Option(help="Only this suite.")] = None,
    results: Annotated[Path, typer.Option(help="Folder with records, searched through.")] = RESULTS,
    write: Annotated[
        bool, typer.Option("--write", help="Also write RESULTS/leaderboard.md, without local records.")
    ] = False,
    published: Annotated[bool, typer.Option("--published", help="Also the numbers that papers printed.")] = False,
) -> None:
    """Rank the records in a results folder; whole test sets and subsets never share a table."""
    from harness import console, leaderboard, record

    if not results.is_dir():
        raise HarnessError(
            f"No results folder at {results.absolute()}. Run something first (harness run), or give --results."
        )
    records = [r for r in leaderboard.find(results) if suite in (None, r.suite, r.suite.partition(":")[0])]
    if not records:
        raise HarnessError(
            f"No records{f' of suite {suite!r}' if suite else ''} in {results.absolute()}. Run: harness run"
        )
    for entries in leaderboard.boards(records).values():
        console.show(leaderboard.ranking(entries))
    if published:
        for table in leaderboard.published(results):
            console.show(table)
    if write:
        shipped = [r for r in records if r.path and "local" not in r.path.relative_to(results).parts]
        with record.writing(results / "leaderboard.md") as file:
            file.write_text(leaderboard.page(shipped))
        console.out.print(f"Wrote {results / 'leaderboard.md'} from {len(shipped)} records.")


def _spec(
    suite: str, models: list[str], methods: list[str], data: Path | None, denoiser: str | None,
    severity: str | None, tile: int, common: dict[str, Any],
) -> Any:  # fmt: skip
    from harness import plugins
    from harness.types import RunSpec

    for key, value in (("severity", severity), ("data", data)):
        if value is not None:
            suite += ("," if ":" in suite else ":") + f"{key}={value}"
    suite, bench = plugins.suite.configure(suite)
    line_up = models or [e.name for e in plugins.model.entries() if e.source or e.facts.get("dataset") == bench.dataset]
    if not line_up:
        raise HarnessError(
            f"No model is registered for {bench.dataset!r}, the data of {suite!r}. Name one with --model."
        )
    entries = [(t, plugins.method[t.partition(":")[0]]) for t in methods or ["default", "de"]]
    names = [plugins.method.configure(t, bench.presets.get(e.name))[0] for t, e in entries]
    needs_denoiser = any(e.facts.get("denoiser") for _, e in entries)
    return RunSpec(
        suite=suite,
        models=tuple(dict.fromkeys(line_up)),
        methods=tuple(dict.fromkeys(names)),
        denoiser=(denoiser or bench.denoiser) if needs_denoiser else None,
        tile=tile or (100 if plugins.dataset[bench.dataset].facts["image_size"] <= 64 else 16),
        **common,
    )


def _estimates(jobs: list[Any], shard: tuple[int, int]) -> Any:
    from harness.estimate import estimate
    from harness.leaderboard import Table

    rows = []
    for job in jobs:
        e = estimate(job, shard)
        counts = [f"{n:,}" for n in (e.conditions, e.images, e.missing, e.classifier_calls, e.denoiser_calls)]
        rows.append(
            [
                job.spec.suite,
                ", ".join(job.spec.models),
                ", ".join(job.spec.methods),
                *counts,
                f"{e.seconds / 60:.1f} min",
            ]
        )
    header = [
        "suite",
        "models",
        "methods",
        "conditions",
        "images",
        "missing",
        "classifier calls",
        "denoiser calls",
        "time",
    ]
    return Table("Dry run", header, rows, "Time from a short measurement on this machine; missing: not yet on disk.")


def _shard(text: str) -> tuple[int, int]:
    try:
        index, count = (int(part) for part in text.split("/"))
    except ValueError:
        index, count = -1, 0
    if not 0 <= index < count:
        raise HarnessError(f"--shard {text!r}: write i/n with 0 <= i < n, such as 0/2 and 1/2.")
    return index, count


def _device(name: str) -> str:
    import torch

    try:
        torch.empty(1, device=name)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).split("\n")[0]
        raise HarnessError(f"--device {name}: not usable here ({reason}). Use --device cpu.") from error
    return name


def _dtypes(choice: Dtype, device: str) -> dict[str, str]:
    if choice is not Dtype.auto:
        return {"dtype": choice.value, "denoiser_dtype": choice.value}
    return {"dtype": "float32", "denoiser_dtype": "float16" if device.startswith("cuda") else "float32"}


def main() -> None:
    """Entry point: mistakes of the user end with one message and exit code 2."""
    from harness import console

    try:
        app()
    except HarnessError as error:
        console.fail(str(error))
        sys.exit(2)
    except KeyboardInterrupt:
        console.fail("Interrupted. Finished parts are kept: give the same command to go on.")
        sys.exit(130)


if __name__ == "__main__":
    main()
