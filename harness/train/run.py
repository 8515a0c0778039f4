"""A training run from its specification to a checkpoint with its card."""

from __future__ import annotations

import json
import platform
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from harness import plugins
from harness.base.files import check_writable, locked, sweep, writing
from harness.models.checkpoint import write_checkpoint
from harness.models.matching import named_classes
from harness.models.published.locate import WeightFiles
from harness.models.tiles import check_compiler
from harness.train.build import build
from harness.train.engine.parallel import World, world
from harness.train.input.splits import open_heldout, open_split, open_training
from harness.train.kinds import kind_of
from harness.train.loop import RunMode, TrainingProgress, train
from harness.train.resolve import resolve
from harness.train.spec import TrainSpec


def run(
    spec: TrainSpec,
    out: Path,
    report: Callable[[TrainingProgress], None] = lambda progress: None,
    *,
    fresh: bool = False,
    workers: int = 0,
    tensorboard: bool = False,
    files: Sequence[str] = (),
    weight_files: WeightFiles | None = None,
) -> dict[str, Any]:
    """Train, write ``model.safetensors``, ``card.json`` and ``log.jsonl`` into `out`, return the card.

    Under ``torchrun`` all processes train together, and the first one reports and writes.

    fresh: forget the state of an earlier run in `out`. workers: processes that prepare batches ahead of time.
    files: see `TrainSpec.command`. weight_files: places of published weights; without, the weights folder.
    """
    with ExitStack() as held:
        return _run(
            resolve(spec), out, RunMode(World(), workers, tensorboard, report), fresh, files, weight_files, held
        )


def _plugins(spec: TrainSpec) -> dict[str, Any]:
    """Files or packages from outside of the project and their hashes by kind of plugin, if there are any."""
    registries = (plugins.architecture, plugins.dataset, plugins.augmentation)
    texts = (spec.model, spec.dataset, spec.augment)
    entries = {registry.kind: registry.of(text) for registry, text in zip(registries, texts, strict=True)}
    origins = {kind: f"{entry.origin.name} {entry.source}" for kind, entry in entries.items() if entry.origin.name}
    return {"plugins": origins} if origins else {}


def _made_with(processes: int) -> dict[str, Any]:
    """Versions and parallelism, which decide roundings."""
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "processes": processes,
    }


def _run(
    spec: TrainSpec,
    out: Path,
    mode: RunMode,
    fresh: bool,
    files: Sequence[str],
    weight_files: WeightFiles | None,
    held: ExitStack,
) -> dict[str, Any]:
    """See `run`. held: takes the lock of the folder, which lasts until the card is written."""
    with world(spec.device) as here:
        torch.manual_seed(spec.seed)
        if spec.compile:
            check_compiler(here.device)
        data, heldout, test = open_training(spec), open_heldout(spec), open_split(spec, "test")
        task, header = build(spec, data, here, weight_files, heldout)
        if here.first:
            check_writable(out)
            held.enter_context(locked(out))
            sweep(out)
            if fresh:
                (out / "state.pt").unlink(missing_ok=True)
        here.wait()
        report = mode.report if here.first else lambda progress: None
        trained = train(task, out, replace(mode, world=here, report=report))
    if not here.first:  # the others need not wait for the test images, and would not wait for long
        return {}
    sha256 = write_checkpoint(out / "model.safetensors", trained.network, header)
    card = {
        "name": spec.name,
        "command": spec.command(files),
        "sha256": sha256,
        "data": {"name": data.name, "split": "train", "images": len(data.ids), "sha256": data.sha256},
        **({"classes": list(named_classes(data))} if "num_classes" in header["arguments"] else {}),
        "spec": spec.settings,
        **_plugins(spec),
        "parameters": sum(p.numel() for p in trained.network.parameters()),
        "steps": trained.steps,
        "seconds": round(trained.seconds, 1),
        "shares": trained.shares,
        "made_with": _made_with(here.size),
        **({"selection": task.selection.facts()} if task.selection else {}),
        **kind_of(spec).measure(spec, trained.network, test, here.device),
    }
    with writing(out / "card.json") as partial:
        partial.write_text(json.dumps(card, indent=2) + "\n")
    return card
