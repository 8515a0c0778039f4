"""Energy score (Liu et al., NeurIPS 2020)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from harness.plugins import detector
from harness.types import HarnessError, Response


@detector("energy")
@dataclass(frozen=True)
class Energy:
    """Minus the free energy: T logsumexp(logits / T)."""

    temperature: float = 1.0
    sweep: ClassVar[Mapping[str, Sequence[float]]] = {"temperature": (1.0,)}

    def __post_init__(self) -> None:
        if not 0 < self.temperature < float("inf"):
            raise HarnessError(f"energy: temperature={self.temperature:g} must be positive and finite.")

    def __call__(self, seen: Response) -> Tensor:
        return self.temperature * (seen.logits / self.temperature).logsumexp(1)
