"""Activation shaping (Djurisic et al., ICLR 2023), in its three variants; OpenOOD's ASH is ASH-B."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from harness.plugins import detector
from harness.types import HarnessError, Response

SWEEP: Mapping[str, Sequence[float]] = {"percentile": (65.0, 70.0, 75.0, 80.0, 85.0, 90.0, 95.0)}


def top(features: Tensor, percentile: float) -> tuple[Tensor, Tensor]:
    """The k = n - round(n percentile / 100) largest of the n features of each row, (R, k), and their columns."""
    n = features.shape[1]
    k = n - round(n * percentile / 100)
    if k < 1:
        raise HarnessError(f"percentile={percentile:g} leaves none of {n} features. Give a smaller one.")
    largest = features.topk(k, dim=1)
    return largest.values, largest.indices


def check(name: str, percentile: float) -> None:
    """Raise HarnessError unless this is a percentile below 100."""
    if not 0 <= percentile < 100:
        raise HarnessError(f"{name}: percentile={percentile:g} must lie in [0, 100).")


@dataclass(frozen=True)
class _Shaped:
    percentile: float = 90.0
    sweep: ClassVar[Mapping[str, Sequence[float]]] = SWEEP

    def __post_init__(self) -> None:
        check("ash", self.percentile)

    def shape(self, features: Tensor, values: Tensor) -> Tensor:
        """The new values of the largest features `values` (R, k); all others become 0."""
        raise NotImplementedError

    def __call__(self, seen: Response) -> Tensor:
        values, places = top(seen.features, self.percentile)
        shaped = seen.features.new_zeros(seen.features.shape).scatter_(1, places, self.shape(seen.features, values))
        return seen.head(shaped).logsumexp(1)


@detector("ash-b", rectified=True)
@dataclass(frozen=True)
class AshB(_Shaped):
    """Energy after the largest features have shared the sum of all evenly: OpenOOD's `ash`."""

    def shape(self, features: Tensor, values: Tensor) -> Tensor:
        return (features.sum(1, keepdim=True) / values.shape[1]).expand_as(values)


@detector("ash-p", rectified=True)
@dataclass(frozen=True)
class AshP(_Shaped):
    """Energy of the largest features alone."""

    def shape(self, features: Tensor, values: Tensor) -> Tensor:
        return values


@detector("ash-s", rectified=True)
@dataclass(frozen=True)
class AshS(_Shaped):
    """Energy of the largest features, scaled by exp(sum of all / sum of the largest)."""

    def shape(self, features: Tensor, values: Tensor) -> Tensor:
        return values * (features.sum(1, keepdim=True) / values.sum(1, keepdim=True)).exp()
