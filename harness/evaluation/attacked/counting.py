"""Passes of an attack, counted on a classifier that it never deceives."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from harness.base.noise import gaussian
from harness.types import Attack, ThreatModel


@dataclass
class Counted:
    """A classifier that counts passes, and that no attack ever deceives.

    classes: K. forward, backward: passes so far, of single images.
    """

    classes: int
    forward: int = 0
    backward: int = 0

    def __call__(self, images: Tensor) -> Tensor:
        self.forward += len(images)
        return self._logits(images)

    def gradient(self, images: Tensor, loss: Callable[..., Tensor], *rows: Tensor) -> tuple[Tensor, Tensor]:
        """Values of the loss, and small gradients that lead nowhere."""
        self.forward += len(images)
        self.backward += len(images)
        return loss(self._logits(images), *rows).detach().float(), 1e-3 * (images - 0.5)

    def drawn(self, draw: int) -> Counted:
        """Itself."""
        return self

    def of(self, rows: Sequence[int]) -> Counted:
        """Itself."""
        return self

    @property
    def undefended(self) -> Counted:
        """Itself."""
        return self

    def straight_through(self) -> Counted:
        """Itself."""
        return self

    def _logits(self, images: Tensor) -> Tensor:
        logits = torch.zeros(len(images), self.classes) - torch.arange(self.classes) / 8
        logits[:, 0] += 8
        return logits


def counted(attack: Attack, image: Tensor, classes: int, threat: ThreatModel) -> tuple[int, int]:
    """Forward and backward passes per image, counted on a stand-in that the attack never deceives."""
    network = Counted(classes)

    def noise(purpose: str) -> Tensor:
        return gaussian(image.shape[1:], seed=0, purpose=purpose, samples=["estimate"])

    attack(image, torch.zeros(1, dtype=torch.int64), network, noise, threat)
    return network.forward, network.backward
