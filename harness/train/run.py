"""A training run from its specification to a checkpoint with its card."""

from __future__ import annotations

import json
import platform
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from harness import metrics, noise, plugins, weights
from harness.classifier import ImageClassifier
from harness.data import open_dataset
from harness.diffusion.denoiser import Denoiser
from harness.diffusion.schedule import SCHEDULES
from harness.files import check_writable, writing
from harness.networks import Tiles, place
from harness.train.loop import Progress, train
from harness.train.objectives import Classification, CrossEntropy, DiffAug, NoisePrediction, Objective, Term
from harness.train.spec import TrainSpec, default_denoisers, denoisers_of
from harness.types import Batch, Dataset, HarnessError

DENOISER_SCHEDULE: dict[str, Any] = {"schedule": "linear", "steps": 1000}
ERROR_TIMES = (50, 150, 250, 350, 450, 700)


def default_denoiser() -> str:
    """The architecture that ``--denoiser`` alone means; raises HarnessError where that is not one."""
    names = default_denoisers()
    if len(names) != 1:
        raise HarnessError(
            f"--denoiser does not say which architecture ({', '.join(names) or 'none is registered'}). "
            "Name one with --model."
        )
    return names[0]


def resolve(spec: TrainSpec) -> TrainSpec:
    """The specification with all that is left to the recipe and the data set filled in.

    Raises HarnessError for what cannot be trained.
    """
    _check_size(repr(spec.model), spec.model, spec.dataset)
    if spec.kind == "denoiser" and spec.diffaug:
        raise HarnessError("--diffaug trains a classifier; a denoiser has no such term.")
    recipe = plugins.architecture[spec.model].facts.get("recipe", {})
    filled = {k: v for k, v in recipe.items() if not getattr(spec, k)}
    if "warmup" in filled and spec.epochs:
        # A recipe's warm-up belongs to its own number of epochs: in a short run it may take half at most.
        filled["warmup"] = min(filled["warmup"], spec.epochs // 2)
    spec = replace(spec, **filled)
    for name in ("epochs", "batch_size", "lr"):
        if not getattr(spec, name):
            raise HarnessError(f"The recipe of {spec.model!r} leaves --{name.replace('_', '-')} open. Give a number.")
    return replace(spec, diffusion=_diffusion(spec.dataset)) if spec.diffaug and not spec.diffusion else spec


def _diffusion(dataset: str) -> str:
    """The one denoiser of a data set."""
    names = denoisers_of(dataset)
    if len(names) != 1:
        raise HarnessError(
            f"--diffaug needs a diffusion model of {dataset!r}, and {', '.join(names) or 'none'} is registered. "
            "Name one with --diffusion, or train one with --denoiser and give its folder."
        )
    return names[0]


def _check_size(what: str, architecture: str, dataset: str) -> None:
    """Raises HarnessError where an architecture says that it is for images of another size than the data set's."""
    side = plugins.dataset[dataset].facts["image_size"]
    built_for = plugins.architecture[architecture].facts.get("image_size", side)
    if built_for != side:
        raise HarnessError(f"{what} is built for images of {built_for} pixels, {dataset!r} has {side}.")


def run(
    spec: TrainSpec,
    out: Path,
    report: Callable[[Progress], None] = lambda progress: None,
    *,
    fresh: bool = False,
) -> dict[str, Any]:
    """Train, write ``model.safetensors`` and ``card.json`` into `out`, return the card.

    fresh: forget the state of an earlier run in `out`.
    """
    spec = resolve(spec)
    torch.manual_seed(spec.seed)
    data, test = (open_dataset(spec.dataset, split, spec.data) for split in ("train", "test"))
    network, objective, header = _task(spec, data)
    state = out / "state.pt"
    check_writable(out)
    if fresh:
        state.unlink(missing_ok=True)
    done = train(spec, network, objective, data, state, report)
    sha256 = weights.write(out / "model.safetensors", done.network, header)
    measure = _denoising_error if spec.kind == "denoiser" else _clean_accuracy
    quality = measure(spec, done.network, test.read(range(len(test.ids))))
    card = {
        "name": spec.name,
        "command": spec.command(),
        "sha256": sha256,
        "data": {"name": data.name, "split": "train", "images": len(data.ids), "sha256": data.sha256},
        "spec": asdict(spec),
        "parameters": sum(p.numel() for p in done.network.parameters()),
        "steps": done.steps,
        "seconds": round(done.seconds, 1),
        "made_with": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "threads": torch.get_num_threads(),
        },
        **quality,
    }
    with writing(out / "card.json") as partial:
        partial.write_text(json.dumps(card, indent=2) + "\n")
    return card


def _task(spec: TrainSpec, data: Dataset) -> tuple[nn.Module, Objective, dict[str, Any]]:
    header: dict[str, Any] = {"architecture": spec.model, "dataset": spec.dataset, "kind": spec.kind}
    build = plugins.architecture[spec.model].build
    if spec.kind == "denoiser":
        network = build()
        schedule = SCHEDULES[DENOISER_SCHEDULE["schedule"]](DENOISER_SCHEDULE["steps"])
        header |= {"arguments": {}, **DENOISER_SCHEDULE}
        return network, NoisePrediction(Denoiser(network, schedule)), header
    header |= {"arguments": {"num_classes": data.num_classes}}
    terms: list[Term] = [CrossEntropy(spec.smoothing)]
    if spec.diffaug:
        denoiser, header["denoiser_sha256"] = _find_denoiser(spec)
        terms.append(DiffAug(denoiser, device=spec.device, dtype=spec.dtype, smoothing=spec.smoothing))
    return ImageClassifier(build(num_classes=data.num_classes)), Classification(terms), header


def _find_denoiser(spec: TrainSpec) -> tuple[Denoiser, str]:
    """The denoiser of the DiffAug term, on its device, once it has proved to work on such images; and its SHA-256."""
    denoiser, info = weights.find_denoiser(spec.diffusion)
    if "architecture" in info.details:  # a harness checkpoint, not a plugin's own network
        _check_size(f"The denoiser {spec.diffusion!r}", info.details["architecture"], spec.dataset)
    place(denoiser.network, spec.device)
    side = plugins.dataset[spec.dataset].facts["image_size"]
    try:
        Tiles(1, spec.device, spec.dtype)(denoiser.predict_x0, torch.zeros(1, 3, side, side), torch.tensor([0]))
    except (RuntimeError, TypeError, ValueError) as error:
        raise HarnessError(
            f"The denoiser {spec.diffusion!r} fails on images of {side} pixels ({type(error).__name__}: {error}). "
            "Choose another with --diffusion."
        ) from error
    return denoiser, info.sha256


def _clean_accuracy(spec: TrainSpec, network: nn.Module, batch: Batch) -> dict[str, Any]:
    logits = Tiles(100, spec.device)(place(network, spec.device), batch.images)
    found = metrics.accuracy((logits.argmax(1) == batch.labels).numpy(), "clean")
    return {"clean_accuracy": {"value": found.value, "interval": list(found.interval), "n": found.n}}


def _denoising_error(spec: TrainSpec, network: nn.Module, batch: Batch) -> dict[str, Any]:
    """Root mean squared error, on the scale of [0, 1], of held-out images denoised in one step from each time."""
    denoiser = Denoiser(
        place(network, spec.device), SCHEDULES[DENOISER_SCHEDULE["schedule"]](DENOISER_SCHEDULE["steps"])
    )
    errors = {}
    for time in ERROR_TIMES:
        eps = noise.gaussian(batch.images.shape[1:], seed=spec.seed, purpose="card", samples=batch.ids, draw=time)
        t = torch.full((len(batch),), time)
        x_t = denoiser.diffuse(batch.images, t, eps)
        x0 = Tiles(100, spec.device)(denoiser.predict_x0, x_t, t)
        errors[str(time)] = float((x0 - batch.images).square().mean().sqrt())
    return {"heldout_denoising_rmse": errors}
