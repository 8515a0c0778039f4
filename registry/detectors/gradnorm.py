"""GradNorm (Huang, Geng & Li, NeurIPS 2021)."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from harness.evaluation.features import linear_head
from harness.plugins import detector
from harness.types import Bank, Response


@detector("gradnorm")
@dataclass(frozen=True)
class GradNorm:
    """L1 norm of the gradient of KL(uniform || softmax) by the weights of the last layer.

    Of one image the gradient is the outer product of softmax - 1/K and the features, so its norm is the product of
    theirs (equations 9 to 12): all images of a tile at once, without a backward pass. OpenOOD and the authors' code
    differentiate the sum over the K classes instead of their mean: K times this score, and the same order of images.
    """

    def fit(self, bank: Bank) -> Callable[[Response], Tensor]:
        linear_head(bank)  # refuses a head that is not linear
        return lambda seen: (seen.probabilities - 1 / seen.logits.shape[1]).abs().sum(1) * seen.features.abs().sum(1)
