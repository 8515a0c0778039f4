"""Autoencoders, whose perturbed weights distort images for DeepAugment."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from harness.models.lookup import load_autoencoder
from harness.models.published.locate import WeightFiles
from harness.models.tiles import Tiles, place
from harness.train.kinds.architecture import build_body
from harness.train.kinds.frozen import Frozen
from harness.train.kinds.kind import Built, NetworkKind, register
from harness.train.kinds.measure import TILE, heldout_batches
from harness.train.objectives.reconstruction import Reconstruction
from harness.train.spec import TrainSpec
from harness.types import Dataset, Weights


def build(spec: TrainSpec, data: Dataset, frozen: Frozen, device: str) -> Built:
    """The network, which takes no arguments."""
    return Built(build_body(spec, {}), Reconstruction(), {})


def reconstruction_error(spec: TrainSpec, network: nn.Module, test: Dataset, device: str) -> dict[str, Any]:
    """Root mean squared error, on the scale of [0, 1], of test images."""
    tiles, placed = Tiles(TILE, device), place(network, device)
    squares = [(tiles(placed, b.images) - b.images).square().flatten(1).mean(1) for b in heldout_batches(test)]
    return {"heldout_reconstruction_rmse": float(torch.cat(squares).mean().sqrt())}


def spell_error(card: Mapping[str, Any]) -> str:
    """Reconstruction error in words."""
    return f"Held-out reconstruction RMSE: {card['heldout_reconstruction_rmse']:.4f}."


def find_init(name: str, weight_files: WeightFiles) -> tuple[nn.Module, Weights]:
    """A trained autoencoder, by path: none is published."""
    return load_autoencoder(Path(name))


AUTOENCODER = register(
    NetworkKind(
        name="autoencoder",
        build=build,
        measure=reconstruction_error,
        outcome=spell_error,
        use="harness train --deepaugment autoencoder:weights={}",
        init=find_init,
    )
)
