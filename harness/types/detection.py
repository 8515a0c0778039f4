"""Detectors of out-of-distribution images, and the views of a classifier that they score or learn from."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from harness.types.data import Dataset

if TYPE_CHECKING:
    from torch import Tensor


class Response(Protocol):
    """A classifier's response to some images, which a detector scores. All tensors are on the classifier's device.

    A call shows as many images as a tile has rows: whatever a detector computes, such as gradients, is computed for all
    of them at once.

    images: (R, 3, H, W) in [0, 1].
    features: penultimate layer (R, D), the network's own or the input of its last linear layer; `Unsuited` if neither
        can be found, and the run goes on without the detector.
    head: features (R, D) to logits (R, K), differentiable; linear unless the network brings its own.
    logits: (R, K), the head's output for these features. probabilities: (R, K), their softmax.
    classify: the network itself, images (R, 3, H, W) to logits (R, K), differentiable under ``torch.enable_grad()``.
    gradient: of a loss by the images. layers: outputs of layers by name.
    """

    @property
    def images(self) -> Tensor: ...

    @property
    def features(self) -> Tensor: ...

    @property
    def logits(self) -> Tensor: ...

    @property
    def probabilities(self) -> Tensor: ...

    def classify(self, images: Tensor, /) -> Tensor: ...

    def head(self, features: Tensor, /) -> Tensor: ...

    def gradient(self, loss: Callable[[Tensor], Tensor], /) -> tuple[Tensor, Tensor]:
        """Values (R,) of a loss, logits (R, K) to (R,), and its gradients (R, 3, H, W) by the images.

        One image's value must depend on its logits alone. Raises `Unsuited` where it cannot be differentiated.
        """

    def layers(self, *names: str) -> tuple[Tensor, ...]:
        """Outputs (R, ...) of layers for these images, one per name, such as "layer3"; `Unsuited` for other names."""


class Answer(Protocol):
    """A test-time method's answer, which a detector declared with ``whole=True`` scores.

    probabilities: (R, K), the method's. views: (V, R, K), the classifier's probabilities for each view that the method
        showed it.
    """

    @property
    def probabilities(self) -> Tensor: ...

    @property
    def views(self) -> Tensor: ...


class FeatureSet(Protocol):
    """Features of a labelled data set that need not fit into memory.

    labels: (N,) int64. width: number of features D.
    """

    @property
    def labels(self) -> Tensor: ...

    @property
    def width(self) -> int: ...

    def chunks(self) -> Iterator[Tensor]:
        """Features (n, D) float32 on the CPU, in the order of `labels`, a few thousand rows at a time."""


class Bank(Protocol):
    """Data that a detector may learn from: in-distribution images, and the classifier's features of them.

    train_images, validation_images: labelled images.
    train_features, validation_features: the classifier's, computed on first use and stored on disk.
    network: the classifier, an nn.Module on its device, with `features` and `head` where it has any.
    width: number of features D; `Unsuited` for a network without features.
    """

    @property
    def train_images(self) -> Dataset: ...

    @property
    def validation_images(self) -> Dataset: ...

    @property
    def network(self) -> Any: ...

    @property
    def width(self) -> int: ...

    @property
    def train_features(self) -> FeatureSet: ...

    @property
    def validation_features(self) -> FeatureSet: ...

    def head(self, features: Tensor, /) -> Tensor:
        """Logits (n, K) of features (n, D), on the CPU."""

    def train_layers(self, *names: str) -> Iterator[tuple[Tensor, ...]]:
        """Outputs (n, ...) of layers for the training images, one per name, on the CPU, a tile of images at a time.

        They are not stored: each call is a pass over the training images, in the order of their labels.
        """

    def remember(self, learn: Callable[[], Mapping[str, Tensor]], *, of: Any) -> Mapping[str, Tensor]:
        """The tensors that `learn` returns: computed once per classifier, data and detector, and stored on disk.

        of: the detector, whose name and settings tell its results from others'.
        """


class Detector(Protocol):
    """A score of how much an image looks like the training data: higher is more in-distribution.

    A detector that learns from the classifier's data has ``fit(bank)``, which returns the scoring function; any other
    is the scoring function. It takes a `Response` and returns (R,); under a test-time method that shows the classifier
    several views, the score is the mean over these. A detector declared ``@detector(name, whole=True)`` takes the
    method's `Answer` instead; one declared with ``rectified=True`` assumes features >= 0, and records note negative
    ones.

    sweep: optional class variable: candidate values of the settings that can be tuned, by setting.
    """

    def __call__(self, seen: Any, /) -> Tensor: ...
