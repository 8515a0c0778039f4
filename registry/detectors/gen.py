"""Generalised entropy (Liu, Lochman & Zach, CVPR 2023), of one answer, and over the views of a test-time method."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from harness.plugins import detector
from harness.types import Answer, HarnessError


def generalised_entropy(probabilities: Tensor, gamma: float, top: int) -> Tensor:
    """Sum over the `top` largest probabilities (..., K) of p^gamma (1 - p)^gamma, (...)."""
    p = probabilities.topk(min(top, probabilities.shape[-1]), dim=-1).values
    return (p**gamma * (1 - p).clamp(min=0) ** gamma).sum(-1)


@detector("gen", whole=True)
@dataclass(frozen=True)
class GEN:
    """Minus the generalised entropy of the largest class probabilities."""

    gamma: float = 0.1
    top: int = 100
    sweep: ClassVar[Mapping[str, Sequence[float]]] = {
        "gamma": (0.01, 0.1, 0.5, 1.0, 2.0, 5.0, 10.0),
        "top": (10, 50, 100, 200, 500, 1000),
    }

    def __post_init__(self) -> None:
        if not 0 < self.gamma < float("inf") or self.top < 1:
            raise HarnessError(f"gen: gamma={self.gamma:g} must be positive and top={self.top} at least 1.")

    def __call__(self, seen: Answer) -> Tensor:
        return -generalised_entropy(seen.probabilities, self.gamma, self.top)


@detector("gen-views", whole=True)
@dataclass(frozen=True)
class ViewsGEN(GEN):
    """GEN of the mean over the views plus their disagreement: how far their own entropies lie below it.

    G(mean p) + weight (G(mean p) - mean G(p)), negated. With gamma <= 1 the entropy is concave and the second term,
    the analogue of mutual information in an ensemble, is never negative. weight=0 is `gen`; `de` shows ten views.
    """

    weight: float = 1.0
    sweep: ClassVar[Mapping[str, Sequence[float]]] = {**GEN.sweep, "weight": (0.0, 0.5, 1.0, 2.0, 5.0)}

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.weight < float("inf"):
            raise HarnessError(f"gen-views: weight={self.weight:g} must be >= 0 and finite.")

    def __call__(self, seen: Answer) -> Tensor:
        if len(seen.views) < 2:
            raise HarnessError("its disagreement needs several views. Add a method that has them: --tta de.")
        of_mean = generalised_entropy(seen.views.mean(0), self.gamma, self.top)
        alone = generalised_entropy(seen.views, self.gamma, self.top).mean(0)
        return -(of_mean + self.weight * (of_mean - alone))
