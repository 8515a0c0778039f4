"""Generation from Python: the same path as ``harness generate``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.api.machine import usable_device
from harness.api.weight_files import check_classes, fetch_missing, weight_files_of
from harness.base.errors import HarnessError

if TYPE_CHECKING:
    import numpy as np

    from harness.generation.job import Generation
    from harness.generation.run import GenerationProgress
    from harness.generation.spec import GenerateSpec

OUT = Path("runs") / "generate"
"""Folder with a folder for each generation that was given none."""


@dataclass(frozen=True, eq=False)
class GeneratedSamples:
    """Samples of a generation.

    images: (N, H, W, 3) uint8. labels: (N,) int64, the class asked for, a position in `classes`.
    folder: where they lie. card: everything that made them, as in its card.json.
    """

    images: np.ndarray
    labels: np.ndarray
    classes: tuple[str, ...]
    folder: Path
    card: dict[str, Any]


def generate(
    guide: Any = "", *, model: Path | str = "", denoiser: Path | str = "", dataset: str = "digits",
    data: Path | str = "", samples: int = 100, classes: str | Sequence[str | int] = "balanced",
    sampler: str = "ddim", steps: str | int = "", eta: float | None = None, variance: str = "auto", seed: int = 0,
    device: str = "auto", dtype: str = "float32", tile: int = 0, compile: bool = False,
    out: Path | str | None = None, images: bool = False, batch_size: int = 0, weights: Sequence[str] = (),
    plugins: Any = (), fresh: bool = False, progress: bool = True,
) -> GeneratedSamples:  # fmt: skip
    """Generate images of classes under a guide; what is on disk is not computed again.

    guide: text or object of a registered class; without one the data set's default. plugins: Python files.
    out: folder; without one below runs/generate. The others have the names of the options of `harness generate`.
    Raises HarnessError for mistakes, before any sample is computed.
    """
    from harness import plugins as registries
    from harness.generation.outputs import SAMPLES, read_samples

    registries.discover(*([Path(plugins)] if isinstance(plugins, str | Path) else map(Path, plugins)))
    text = guide if isinstance(guide, str) else registries.guide.text_of(guide)
    if text is None:
        raise HarnessError(f"guide={guide!r} must be the text of a guide, or an object of a class under @guide.")
    named = {"guide": text, "model": str(model), "denoiser": str(denoiser), "dataset": dataset, "data": str(data)}
    listed = classes if isinstance(classes, str) else ",".join(map(str, classes))
    machine = {"seed": seed, "device": device, "dtype": dtype, "tile": tile, "compile": compile}
    spec = specification(
        {**named, **machine, "samples": samples, "classes": listed}, sampler, str(steps), eta, variance
    )  # fmt: skip
    job, folder = prepared(spec, weights, Path(out) if out else None)
    card = generated(job, folder, shown=progress, batch_size=batch_size, images=images, fresh=fresh)
    assert card is not None  # a single process has all samples
    return GeneratedSamples(*read_samples(folder / SAMPLES), tuple(job.names), folder, card)


def specification(settings: dict[str, Any], sampler: str, steps: str, eta: float | None, variance: str) -> GenerateSpec:
    """The specification with what belongs to its data set and denoiser filled in, and a device that works.

    steps: "" for the sampler's usual ones. eta: None for that of the denoiser, `harness.diffusion.lookup.usual_eta`.
    """
    from harness.diffusion.lookup import usual_eta
    from harness.generation.spec import GenerateSpec, resolve
    from harness.types import USUAL_STEPS, Sampling

    sampling = Sampling(sampler, steps or USUAL_STEPS.get(sampler, ""), eta or 0.0, variance)
    named = {**settings, "device": usable_device(settings["device"])}
    spec = resolve(GenerateSpec(**named, sampling=sampling))
    if eta is None and sampler == "ddim":
        spec = replace(spec, sampling=replace(sampling, eta=usual_eta(spec.denoiser)))
    return spec


def prepared(spec: GenerateSpec, weights: Sequence[str], out: Path | None) -> tuple[Generation, Path]:
    """The generation, loaded and checked, with its folder: `out`, or one that is named after all settings."""
    from harness.generation.job import prepare

    weight_files = weight_files_of(weights)
    check_classes(spec.model, spec.dataset)
    fetch_missing([spec.model, spec.denoiser], weight_files)
    job = prepare(spec, weight_files)
    guide = spec.guide.partition(":")[0]
    return job, out or OUT / f"{spec.dataset}-{guide}-{spec.samples}-{job.key}"


def generated(job: Generation, out: Path, *, shown: bool = True, **options: Any) -> dict[str, Any] | None:
    """Generate under a progress bar; the card, see `harness.generation.run.generate`, whose options these are."""
    from harness.generation.run import generate as run
    from harness.terminal import console

    if shown:
        who = f"--guide {job.spec.guide}" + (f" --model {job.spec.model}" if job.spec.model else "")
        console.err.print(f"{who} --denoiser {job.spec.denoiser}", soft_wrap=True)
        for note in job.notes:
            console.note(note)
    with console.progress(shown) as bar:
        return run(job, out, report=_reporter(bar, job), **options)


def _reporter(bar: Any, job: Generation) -> Callable[[GenerationProgress], None]:
    """The function that shows the progress, from its first call on."""
    lines: list[Any] = []

    def report(progress: GenerationProgress) -> None:
        if not lines:
            lines.append(bar.begin(job.spec.guide.partition(":")[0], progress.total))
        bar.update(lines[0], total=progress.total, completed=progress.done, computed=progress.computed)

    return report
