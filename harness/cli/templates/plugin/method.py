"""A test-time method: views of a batch and a classifier to class probabilities."""

from dataclasses import dataclass

from torch import Tensor

from harness.plugins import method
from harness.types import Classifier, HarnessError, Views


# A method that uses views.denoised or views.adapted is declared with @method("my-name", denoiser=True).
@method("my-name")
@dataclass(frozen=True)
class MyName:
    """Mean class probability of the image and its mirror image."""

    # Settings are fields: --tta my-name:weight=0.3.
    weight: float = 0.5

    def __post_init__(self) -> None:
        if not 0 <= self.weight <= 1:
            raise HarnessError(f"my-name: weight={self.weight} must be in [0, 1].")

    def __call__(self, views: Views, classifier: Classifier) -> Tensor:  # (B, K)
        # An image's result must depend neither on the other images of the batch nor on torch's random numbers.
        x = views.original()
        return (1 - self.weight) * classifier(x).softmax(-1) + self.weight * classifier(x.flip(-1)).softmax(-1)
