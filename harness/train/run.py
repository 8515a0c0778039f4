"""A training run from its specification to a checkpoint with its card."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from statsmodels.stats.proportion import proportion_confint
from torch import nn

from harness import noise, plugins, weights
from harness.classifier import ImageClassifier
from harness.data import open_dataset
from harness.diffusion.denoiser import Denoiser
from harness.diffusion.schedule import SCHEDULES
from harness.networks import Tiles, place
from harness.train.loop import Progress, train
from harness.train.objectives import Classification, CrossEntropy, DiffAug, NoisePrediction, Objective, Term
from harness.train.spec import TrainSpec
from harness.types import Dataset, HarnessError

DENOISER_SCHEDULE: dict[str, Any] = {"schedule": "linear", "steps": 1000}
ERROR_TIMES = (50, 150, 250, 350, 450, 700)


def resolve(spec: TrainSpec) -> TrainSpec:
    """The specification with the recipe's numbers in place of zeros; raises HarnessError for what cannot be trained."""
    architecture = plugins.architecture[spec.model]
    data = plugins.dataset[spec.dataset]
    if architecture.facts["image_size"] != data.facts["image_size"]:
        raise HarnessError(
            f"{spec.model!r} is built for images of {architecture.facts['image_size']} pixels, "
            f"{spec.dataset!r} has {data.facts['image_size']}."
        )
    if spec.model == "unet" and spec.diffaug:
        raise HarnessError("--diffaug trains a classifier; a denoiser has no such term.")
    recipe = architecture.facts["recipe"]
    return replace(spec, **{k: v for k, v in recipe.items() if not getattr(spec, k)})


def run(spec: TrainSpec, out: Path, report: Callable[[Progress], None] = lambda progress: None) -> dict[str, Any]:
    """Train, write ``model.safetensors`` and ``card.json`` into `out`, return the card."""
    spec = resolve(spec)
    torch.manual_seed(spec.seed)
    data = open_dataset(spec.dataset, "train", spec.data)
    network, objective, header = _task(spec, data)
    done = train(spec, network, objective, data, out / "state.pt", report)
    sha256 = weights.write(out / "model.safetensors", done.network, header)
    quality = _denoising_error(spec, done.network) if spec.model == "unet" else _clean_accuracy(spec, done.network)
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
    partial = out / "card.partial"
    partial.write_text(json.dumps(card, indent=2) + "\n")
    os.replace(partial, out / "card.json")
    return card


def _task(spec: TrainSpec, data: Dataset) -> tuple[nn.Module, Objective, dict[str, Any]]:
    header: dict[str, Any] = {"architecture": spec.model, "dataset": spec.dataset}
    build = plugins.architecture[spec.model].build
    if spec.model == "unet":
        network = build()
        schedule = SCHEDULES[DENOISER_SCHEDULE["schedule"]](DENOISER_SCHEDULE["steps"])
        header |= {"kind": "denoiser", "arguments": {}, **DENOISER_SCHEDULE}
        return network, NoisePrediction(Denoiser(network, schedule)), header
    header |= {"kind": "classifier", "arguments": {"num_classes": data.num_classes}}
    terms: list[Term] = [CrossEntropy(spec.smoothing)]
    if spec.diffaug:
        denoiser, info = weights.find_denoiser(spec.diffusion)
        header["denoiser_sha256"] = info.sha256
        place(denoiser.network, spec.device)
        terms.append(DiffAug(denoiser, device=spec.device, dtype=spec.dtype, smoothing=spec.smoothing))
    return ImageClassifier(build(num_classes=data.num_classes)), Classification(terms), header


def _clean_accuracy(spec: TrainSpec, network: nn.Module) -> dict[str, Any]:
    test = open_dataset(spec.dataset, "test", spec.data)
    batch = test.read(range(len(test.ids)))
    logits = Tiles(100, spec.device)(place(network, spec.device), batch.images)
    correct = int((logits.argmax(1) == batch.labels).sum())
    low, high = proportion_confint(correct, len(batch), method="wilson")
    return {"clean_accuracy": {"value": correct / len(batch), "interval": [low, high], "n": len(batch)}}


def _denoising_error(spec: TrainSpec, network: nn.Module) -> dict[str, Any]:
    """Root mean squared error, on the scale of [0, 1], of held-out images denoised in one step from each time."""
    test = open_dataset(spec.dataset, "test", spec.data)
    batch = test.read(range(len(test.ids)))
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
