"""An attack: images, labels and a classifier's gradient to adversarial images."""

from dataclasses import dataclass

from torch import Tensor

from harness.attacks import losses, projections, steps
from harness.plugins import attack
from harness.types import GradientClassifier, HarnessError, Noise, ThreatModel


@attack("my-name")
@dataclass(frozen=True)
class MyName:
    """One sign step (Goodfellow et al., ICLR 2015); norm and eps are the suite's."""

    # Settings are fields: --attack my-name:step=0.5.
    step: float = 1.0

    def __call__(
        self, images: Tensor, labels: Tensor, classifier: GradientClassifier, noise: Noise, threat: ThreatModel
    ) -> Tensor:
        if threat.norm != "linf":
            raise HarnessError("my-name attacks within linf balls: norm=linf.")
        _, gradient = classifier.gradient(images, losses.cross_entropy, labels)
        # Project onto the ball first and onto [0, 1] second; random starts come from noise(purpose).
        return images + projections.box(images, steps.linf(gradient, self.step * threat.eps))
