"""SCALE (Xu et al., ICLR 2024)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from harness.plugins import detector
from harness.registry.detectors.ash import SWEEP, check, top
from harness.types import Response


@detector("scale", rectified=True)
@dataclass(frozen=True)
class Scale:
    """Energy of the features scaled by exp(sum of all / sum of the largest), none removed."""

    percentile: float = 85.0
    sweep: ClassVar[Mapping[str, Sequence[float]]] = SWEEP

    def __post_init__(self) -> None:
        check("scale", self.percentile)

    def __call__(self, seen: Response) -> Tensor:
        largest, _ = top(seen.features, self.percentile)
        ratio = seen.features.sum(1, keepdim=True) / largest.sum(1, keepdim=True)
        return seen.head(seen.features * ratio.exp()).logsumexp(1)
