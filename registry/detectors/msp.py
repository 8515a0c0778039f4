"""Maximum softmax probability (Hendrycks & Gimpel, ICLR 2017)."""

from dataclasses import dataclass

from torch import Tensor

from harness.plugins import detector
from harness.types import Answer


@detector("msp", whole=True)
@dataclass(frozen=True)
class MaxProbability:
    """The largest class probability."""

    def __call__(self, seen: Answer) -> Tensor:
        return seen.probabilities.amax(1)
