"""Diffusion-driven adaptation (Gao et al., CVPR 2023), alone and with self-ensembling."""

from dataclasses import dataclass

from torch import Tensor

from harness.plugins import method
from harness.types import Adaptation, Classifier, Views


@method("dda", denoiser=True)
@dataclass(frozen=True)
class DiffusionDrivenAdaptation(Adaptation):
    """The classifier on the image brought back to the training domain by guided diffusion."""

    def __call__(self, views: Views, classifier: Classifier) -> Tensor:  # (B, K)
        return classifier(views.adapted(self.settings)).softmax(-1)


@method("dda-se", denoiser=True)
@dataclass(frozen=True)
class SelfEnsembledAdaptation(Adaptation):
    """Mean class probability of the adapted and of the original image."""

    def __call__(self, views: Views, classifier: Classifier) -> Tensor:  # (B, K)
        adapted = classifier(views.adapted(self.settings)).softmax(-1)
        return (adapted + classifier(views.original()).softmax(-1)) / 2
