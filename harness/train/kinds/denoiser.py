"""Denoisers: noise-prediction networks of a diffusion process."""

from __future__ import annotations

from collections.abc import Mapping
from inspect import signature
from typing import Any

import torch
from torch import nn

from harness import plugins
from harness.base import noise
from harness.diffusion.denoiser import Denoiser
from harness.diffusion.lookup import find_denoiser
from harness.diffusion.schedule import SCHEDULES, Schedule
from harness.models.published.locate import WeightFiles
from harness.models.tiles import Tiles, place
from harness.train.kinds.frozen import Frozen
from harness.train.kinds.kind import Built, NetworkKind, register
from harness.train.kinds.measure import TILE, heldout_batches
from harness.train.objectives.denoising import NoisePrediction
from harness.train.objectives.reverse import Reverse
from harness.train.spec import TrainSpec
from harness.types import Dataset, HarnessError, Weights

DIFFUSION_STEPS = 1000
"""Times of the diffusion process."""
ERROR_TIMES = (50, 150, 250, 350, 450, 700)
"""Times from which the card's denoising errors are."""


def build(spec: TrainSpec, data: Dataset, frozen: Frozen, device: str) -> Built:
    """The network, with the class as an input if the architecture is conditional."""
    entry = plugins.architecture[spec.model]
    conditional = bool(entry.facts.get("conditional"))
    arguments: dict[str, Any] = {"num_classes": data.num_classes} if conditional else {}
    facts: dict[str, Any] = {"schedule": spec.noise_schedule, "steps": DIFFUSION_STEPS}
    if spec.label_dropout:
        if "null_class" not in signature(entry.build).parameters:
            raise HarnessError(f"--label-dropout: {spec.model!r} has no class for none. Name another --architecture.")
        arguments["null_class"] = True
        facts["null_label"] = data.num_classes
    network = entry.build(**arguments)
    denoiser = Denoiser(network, schedule(spec), facts.get("null_label"))
    return Built(network, NoisePrediction(denoiser, conditional, spec.label_dropout), arguments, facts)


def schedule(spec: TrainSpec) -> Schedule:
    """The noise schedule that a denoiser is trained with."""
    return SCHEDULES[spec.noise_schedule](DIFFUSION_STEPS)


def denoising_error(spec: TrainSpec, network: nn.Module, test: Dataset, device: str) -> dict[str, Any]:
    """Root mean squared errors, on the scale of [0, 1], of test images denoised in one step from each time.

    A class-conditional network gets each image's class; one trained with label dropout is also measured without.
    """
    denoiser = Denoiser(place(network, device), schedule(spec), test.num_classes if spec.label_dropout else None)
    reverse = Reverse(denoiser, conditional=denoiser, weight=1.0) if denoiser.conditional else Reverse(denoiser)
    card = {"heldout_denoising_rmse": _errors(spec, reverse, test, device)}
    if spec.label_dropout:
        card["heldout_unconditional_denoising_rmse"] = _errors(spec, Reverse(denoiser), test, device)
    return card


def _errors(spec: TrainSpec, reverse: Reverse, test: Dataset, device: str) -> dict[str, float]:
    """The errors of a reverse step by time."""
    tiles = Tiles(TILE, device)
    errors = {}
    for time in ERROR_TIMES:
        squares = []
        for batch in heldout_batches(test):
            eps = noise.gaussian(batch.images.shape[1:], seed=spec.seed, purpose="card", samples=batch.ids, draw=time)
            x0 = tiles(reverse, batch.images, torch.full((len(batch),), time), eps, batch.labels)
            squares.append((x0 - batch.images).square().flatten(1).mean(1))
        errors[str(time)] = float(torch.cat(squares).mean().sqrt())
    return errors


def spell_error(card: Mapping[str, Any]) -> str:
    """Denoising errors in words."""
    errors = ", ".join(f"t={t}: {e:.3f}" for t, e in card["heldout_denoising_rmse"].items())
    return f"Held-out one-step denoising RMSE: {errors}."


def find_init(name: str, weight_files: WeightFiles) -> tuple[nn.Module, Weights]:
    """The network of a trained denoiser."""
    denoiser, info = find_denoiser(name, weight_files)
    return denoiser.network, info


DENOISER = register(
    NetworkKind(
        name="denoiser",
        build=build,
        measure=denoising_error,
        outcome=spell_error,
        use="harness run --denoiser {}",
        options=frozenset({"noise_schedule", "label_dropout"}),
        init=find_init,
    )
)
