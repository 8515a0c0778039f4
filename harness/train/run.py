"""A training run from its specification to a checkpoint with its card."""

from __future__ import annotations

import json
import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from harness import noise, weights
from harness.data import decoders, ordered
from harness.diffusion.denoiser import Denoiser
from harness.files import check_writable, locked, sweep, writing
from harness.metrics.accuracy import accuracy
from harness.networks import Tiles, check_compiler, place
from harness.train.build import alone, build, open_split, open_training, schedule
from harness.train.classes import named
from harness.train.loop import Conduct, Progress, train
from harness.train.parallel import World, world
from harness.train.resolve import resolve
from harness.train.spec import TrainSpec
from harness.types import Batch, Dataset

TILE = 100
ERROR_TIMES = (50, 150, 250, 350, 450, 700)


def run(
    spec: TrainSpec,
    out: Path,
    report: Callable[[Progress], None] = lambda progress: None,
    *,
    fresh: bool = False,
    workers: int = 0,
    tensorboard: bool = False,
    files: Sequence[str] = (),
) -> dict[str, Any]:
    """Train, write ``model.safetensors``, ``card.json`` and ``log.jsonl`` into `out`, return the card.

    Under ``torchrun`` all processes train together, and the first one reports and writes.

    fresh: forget the state of an earlier run in `out`. workers: processes that prepare batches ahead of time.
    files: see `TrainSpec.command`.
    """
    with ExitStack() as held:
        return _run(resolve(spec), out, Conduct(World(), workers, tensorboard, report), fresh, files, held)


def _run(
    spec: TrainSpec, out: Path, conduct: Conduct, fresh: bool, files: Sequence[str], held: ExitStack
) -> dict[str, Any]:
    """See `run`. held: takes the lock of the folder, which lasts until the card is written."""
    with world(spec.device) as here:
        torch.manual_seed(spec.seed)
        if spec.compile:
            check_compiler(here.device)
        data, test = open_training(spec), open_split(spec, "test")
        task, header = build(spec, data, here)
        if here.first:
            check_writable(out)
            held.enter_context(locked(out))
            sweep(out)
            if fresh:
                (out / "state.pt").unlink(missing_ok=True)
        here.wait()
        report = conduct.report if here.first else lambda progress: None
        done = train(task, out, replace(conduct, world=here, report=report))
    if not here.first:  # the others need not wait for the test images, and would not wait for long
        return {}
    sha256 = weights.write(out / "model.safetensors", done.network, header)
    card = {
        "name": spec.name,
        "command": spec.command(files),
        "sha256": sha256,
        "data": {"name": data.name, "split": "train", "images": len(data.ids), "sha256": data.sha256},
        **({"classes": list(named(data))} if "num_classes" in header["arguments"] else {}),
        "spec": asdict(spec),
        "parameters": sum(p.numel() for p in done.network.parameters()),
        "steps": done.steps,
        "seconds": round(done.seconds, 1),
        "shares": done.shares,
        "made_with": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "threads": torch.get_num_threads(),
            "processes": here.size,
        },
        **MEASURES[spec.kind](spec, done.network, test, here.device),
    }
    with writing(out / "card.json") as partial:
        partial.write_text(json.dumps(card, indent=2) + "\n")
    return card


def _batches(test: Dataset) -> Iterator[Batch]:
    """The test images, a tile at a time, decoded ahead."""
    tiles = (range(start, min(start + TILE, len(test.ids))) for start in range(0, len(test.ids), TILE))
    yield from ordered(test.read, tiles, decoders([test]))


def _clean_accuracy(spec: TrainSpec, network: nn.Module, test: Dataset, device: str) -> dict[str, Any]:
    tiles, placed = Tiles(TILE, device), place(network, device)
    right = torch.cat([tiles(placed, batch.images).argmax(1) == batch.labels for batch in _batches(test)])
    found = accuracy(right.numpy(), "clean")
    return {"clean_accuracy": {"value": found.value, "interval": list(found.interval), "n": found.n}}


def _denoising_error(spec: TrainSpec, network: nn.Module, test: Dataset, device: str) -> dict[str, Any]:
    """Root mean squared error, on the scale of [0, 1], of held-out images denoised in one step from each time.

    A class-conditional network is told each image's class.
    """
    reverse, tiles = alone(Denoiser(place(network, device), schedule(spec)), spec), Tiles(TILE, device)
    errors = {}
    for time in ERROR_TIMES:
        squares = []
        for batch in _batches(test):
            eps = noise.gaussian(batch.images.shape[1:], seed=spec.seed, purpose="card", samples=batch.ids, draw=time)
            x0 = tiles(reverse, batch.images, torch.full((len(batch),), time), eps, batch.labels)
            squares.append((x0 - batch.images).square().flatten(1).mean(1))
        errors[str(time)] = float(torch.cat(squares).mean().sqrt())
    return {"heldout_denoising_rmse": errors}


def _reconstruction_error(spec: TrainSpec, network: nn.Module, test: Dataset, device: str) -> dict[str, Any]:
    """Root mean squared error, on the scale of [0, 1], of held-out images."""
    tiles, placed = Tiles(TILE, device), place(network, device)
    squares = [(tiles(placed, b.images) - b.images).square().flatten(1).mean(1) for b in _batches(test)]
    return {"heldout_reconstruction_rmse": float(torch.cat(squares).mean().sqrt())}


MEASURES: Mapping[str, Callable[[TrainSpec, nn.Module, Dataset, str], dict[str, Any]]] = {
    "classifier": _clean_accuracy,
    "denoiser": _denoising_error,
    "time-conditioned": _clean_accuracy,
    "autoencoder": _reconstruction_error,
}
"""What the card says of a network of each kind."""
