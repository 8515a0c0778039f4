"""No adaptation: the baseline of every comparison."""

from dataclasses import dataclass

from torch import Tensor

from harness.plugins import method
from harness.types import Classifier, Views


@method("default")
@dataclass(frozen=True)
class Default:
    """The classifier on the image as it is."""

    def __call__(self, views: Views, classifier: Classifier) -> Tensor:  # (B, K)
        return classifier(views.original()).softmax(-1)
