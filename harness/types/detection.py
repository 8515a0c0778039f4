"""Detectors of out-of-distribution images, and the views of a classifier that they score or learn from."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from harness.types.data import Dataset

if TYPE_CHECKING:
    from torch import Tensor


class Response(Protocol):
    """A classifier's response to some images, which a detector scores. All tensors are on the classifier's device.

    images: (R, 3, H, W) in [0, 1]. features: penultimate layer (R, D); HarnessError if the network gives none.
    logits: (R, K), the head's output for these features. probabilities: (R, K), their softmax.
    classify: the network itself, images (R, 3, H, W) to logits (R, K), differentiable.
    head: features (R, D) to logits (R, K).
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
    network: the classifier, an nn.Module on its device.
    """

    @property
    def train_images(self) -> Dataset: ...

    @property
    def validation_images(self) -> Dataset: ...

    @property
    def network(self) -> Any: ...

    @property
    def train_features(self) -> FeatureSet: ...

    @property
    def validation_features(self) -> FeatureSet: ...

    def head(self, features: Tensor, /) -> Tensor:
        """Logits (n, K) of features (n, D), on the CPU."""

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
