"""Selection of the epoch (``--select``): the weights that withstand an attack best on held-out training images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from harness.attacks import projections
from harness.attacks.losses import margin
from harness.base import noise
from harness.metrics.accuracy import accuracy
from harness.train.kinds.measure import heldout_batches
from harness.train.objectives.adversarial import TrainingAttack
from harness.train.objectives.joint import ReadOnlyNetwork
from harness.types import Dataset


@dataclass
class Selection:
    """Looks at a network after every epoch, and keeps the best weights; of equal ones the later.

    PGD on the margin loss from a random start, which is keyed by (seed, sample) and so the same in every epoch, as Wang
    et al. (ICML 2023) select with 40 steps. An image counts as robust where the last iterate is still classified
    rightly. In float32, on the device.

    images: held out of the training images; test images choose nothing.
    history: per look the steps done, the epochs done, and the number of robust images.
    """

    images: Dataset
    attack: TrainingAttack
    name: str
    seed: int
    device: str = "cpu"
    history: list[tuple[int, float, int]] = field(default_factory=list)
    weights: dict[str, Tensor] = field(default_factory=dict)
    best: int = 0

    def look(self, network: nn.Module, step: int, epoch: float) -> None:
        """Measure the network after `step` steps; keep a copy of its weights if none before was better."""
        robust = int(self.robust(network, self.images).sum())
        if not self.history or robust >= self.history[self.best][2]:
            self.best = len(self.history)
            self.weights = {name: tensor.detach().cpu().clone() for name, tensor in network.state_dict().items()}
        self.history.append((step, round(epoch, 4), robust))

    def robust(self, network: nn.Module, images: Dataset) -> Tensor:
        """Which images are classified rightly under attack, (N,) bool."""
        current, right = ReadOnlyNetwork(network), []
        for batch in heldout_batches(images):
            x, labels = batch.images.to(self.device), batch.labels.to(self.device)
            gaussian = noise.gaussian(x.shape[1:], seed=self.seed, purpose="select-start", samples=batch.ids).to(x)
            start = projections.box(x, self.attack.in_ball(gaussian))
            attacked = self.attack(x, start, lambda z, y=labels: current.gradient(z, margin, y)[1])  # type: ignore[misc]
            right.append((current(attacked).argmax(1) == labels).cpu())
        return torch.cat(right)

    def facts(self) -> dict[str, Any]:
        """Entries of the card: the attack, the chosen epoch, and the robust accuracy of all that were looked at.

        The chosen one's accuracy is the largest of several on the same images, and so too high.
        """
        count = len(self.images.ids)
        step, epoch, robust = self.history[self.best]
        measured = accuracy((torch.arange(count) < robust).numpy(), self.name)
        return {
            "attack": f"{self.name}, margin loss, {self.attack.threat}",
            "images": count,
            "step": step,
            "epoch": epoch,
            "robust_accuracy": {"value": measured.value, "interval": list(measured.interval), "n": measured.n},
            "history": [[epoch, round(robust / count, 6)] for _, epoch, robust in self.history],
        }

    def state_dict(self) -> dict[str, Any]:
        """All that a resumed run needs."""
        return {"history": [list(look) for look in self.history], "weights": self.weights, "best": self.best}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a state."""
        self.history = [(int(step), float(epoch), int(robust)) for step, epoch, robust in state["history"]]
        self.weights, self.best = dict(state["weights"]), int(state["best"])
