"""Denoise, then classify: the natural answer of a plain classifier to noise of a known level."""

from dataclasses import dataclass

from torch import Tensor

from harness.plugins import method
from harness.types import Classifier, Views


@method("denoised", denoiser=True)
@dataclass(frozen=True)
class Denoised:
    """The classifier on the one-step denoised image, in suites that diffuse images to a known time."""

    def __call__(self, views: Views, classifier: Classifier) -> Tensor:  # (B, K)
        return classifier(views.restored()).softmax(-1)
