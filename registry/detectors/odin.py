"""ODIN (Liang, Li & Srikant, ICLR 2018)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from harness.plugins import detector
from harness.types import HarnessError, Response


@detector("odin")
@dataclass(frozen=True)
class ODIN:
    """The largest probability at a high temperature, after a small step that raises it.

    The step is taken in [0, 1] pixel units. OpenOOD takes it in normalised units and divides it by the normalisation's
    standard deviation, which is the same.
    """

    temperature: float = 1000.0
    noise: float = 0.0014
    sweep: ClassVar[Mapping[str, Sequence[float]]] = {
        "temperature": (1.0, 10.0, 100.0, 1000.0),
        "noise": (0.0014, 0.0028),
    }

    def __post_init__(self) -> None:
        if not 0 < self.temperature < float("inf") or not 0 <= self.noise < float("inf"):
            raise HarnessError(
                f"odin: temperature={self.temperature:g} must be > 0 and noise={self.noise:g} >= 0, both finite."
            )

    def __call__(self, seen: Response) -> Tensor:
        with torch.enable_grad():
            images = seen.images.detach().clone().requires_grad_()
            logits = seen.classify(images)
            loss = F.cross_entropy(logits / self.temperature, logits.detach().argmax(1), reduction="sum")
            (gradient,) = torch.autograd.grad(loss, images)
        # A gradient of exactly zero counts as positive, as in the authors' code.
        step = torch.where(gradient >= 0, 1.0, -1.0)
        logits = seen.classify(images.detach() - self.noise * step)
        # At this temperature all scores lie close to 1 / K, and float32 would keep three of their digits.
        return (logits.double() / self.temperature).softmax(1).amax(1)
