"""Measurements of trained networks on test images, for the card."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import nn

from harness.data import decoders, ordered
from harness.metrics.accuracy import accuracy
from harness.models.tiles import Tiles, place
from harness.train.spec import TrainSpec
from harness.types import Batch, Dataset

TILE = 100
"""Images per call of a network that is measured."""


def heldout_batches(test: Dataset) -> Iterator[Batch]:
    """The test images, a tile at a time, decoded ahead."""
    tiles = (range(start, min(start + TILE, len(test.ids))) for start in range(0, len(test.ids), TILE))
    yield from ordered(test.read, tiles, decoders([test]))


def clean_accuracy(spec: TrainSpec, network: nn.Module, test: Dataset, device: str) -> dict[str, Any]:
    """Accuracy on the test images, a share with its interval and n."""
    tiles, placed = Tiles(TILE, device), place(network, device)
    right = torch.cat([tiles(placed, batch.images).argmax(1) == batch.labels for batch in heldout_batches(test)])
    measured = accuracy(right.numpy(), "clean")
    return {"clean_accuracy": {"value": measured.value, "interval": list(measured.interval), "n": measured.n}}


def spell_accuracy(card: Mapping[str, Any]) -> str:
    """Clean accuracy in words, and which epoch was selected."""
    text = f"Clean accuracy {_percent(card['clean_accuracy'])}"
    if chosen := card.get("selection"):
        text += f" Epoch {chosen['epoch']:g} was selected: {_percent(chosen['robust_accuracy'])} ({chosen['attack']})"
    return text


def _percent(quality: Mapping[str, Any]) -> str:
    low, high = quality["interval"]
    return f"{100 * quality['value']:.1f} % [{100 * low:.1f}, {100 * high:.1f}], n = {quality['n']}."
