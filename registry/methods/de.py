"""DiffAug-Ensemble (Sastry et al., NeurIPS 2024, section 4.1)."""

from dataclasses import dataclass

import torch
from torch import Tensor

from harness.plugins import method
from harness.types import Classifier, HarnessError, Views


@method("de", denoiser=True)
@dataclass(frozen=True)
class DiffAugEnsemble:
    """Mean class probability over one-step denoisings at several times; t = 0 is the image itself."""

    times: tuple[int, ...] = tuple(range(0, 451, 50))

    def __post_init__(self) -> None:
        if len(set(self.times)) != len(self.times) or min(self.times) < 0:
            raise HarnessError(f"de: times={self.times} must be distinct and not negative.")

    def __call__(self, views: Views, classifier: Classifier) -> Tensor:  # (B, K)
        # Term by term: a reduction's order, and so its last bit, would depend on the number of images beside this one.
        total = torch.zeros(())
        for x in views.denoised(self.times):
            total = total + classifier(x).softmax(-1)
        return total / len(self.times)
