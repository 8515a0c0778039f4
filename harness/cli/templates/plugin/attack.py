"""An attack: images, labels and a classifier's gradient to adversarial images."""

from dataclasses import dataclass

from torch import Tensor

from harness.attacks import losses, projections, steps
from harness.plugins import attack
from harness.types import GradientClassifier, Noise


@attack("my-name")
@dataclass(frozen=True)
class MyName:
    """One sign step of length eps (Goodfellow et al., ICLR 2015)."""

    # Settings are fields: --attack my-name:eps=0.1.
    eps: float = 8 / 255

    def __call__(self, images: Tensor, labels: Tensor, classifier: GradientClassifier, noise: Noise) -> Tensor:
        _, gradient = classifier.gradient(images, losses.cross_entropy, labels)
        # Project onto the ball first and onto [0, 1] second; random starts come from noise(purpose).
        return images + projections.box(images, steps.linf(gradient, self.eps))
