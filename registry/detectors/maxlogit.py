"""Maximum logit (Hendrycks et al., ICML 2022)."""

from dataclasses import dataclass

from torch import Tensor

from harness.plugins import detector
from harness.types import Response


@detector("maxlogit")
@dataclass(frozen=True)
class MaxLogit:
    """The largest logit."""

    def __call__(self, seen: Response) -> Tensor:
        return seen.logits.amax(1)
