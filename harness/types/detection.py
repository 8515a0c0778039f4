"""What a detector of unknown classes sees of a classifier."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from harness.types.data import Dataset

if TYPE_CHECKING:
    from torch import Tensor


class Response(Protocol):
    """What a classifier makes of some images: what a detector looks at. All tensors are on the classifier's device.

    images: (R, 3, H, W) in [0, 1]. features: penultimate layer (R, D); HarnessError where the network shows none.
    logits: (R, K), what the head makes of the features. probabilities: (R, K), their softmax.
    classify: the network itself, images to logits, differentiable.
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
    """What a test-time method makes of a classifier: what a detector declared with ``whole=True`` looks at.

    probabilities: (R, K), the method's. views: (V, R, K), those of each image that the method showed the classifier.
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
    """What a detector may learn from: the classifier's features of training and validation images.

    train, validation: in-distribution, computed when first asked for and kept on disk.
    training, validating: the images themselves. network: the classifier, an nn.Module on its device.
    """

    @property
    def training(self) -> Dataset: ...

    @property
    def validating(self) -> Dataset: ...

    @property
    def network(self) -> Any: ...

    @property
    def train(self) -> FeatureSet: ...

    @property
    def validation(self) -> FeatureSet: ...

    def head(self, features: Tensor, /) -> Tensor:
        """Logits (n, K) of features (n, D), on the CPU."""

    def remember(self, learn: Callable[[], Mapping[str, Tensor]], *, of: Any) -> Mapping[str, Tensor]:
        """The tensors that `learn` makes, computed once per classifier, data and detector `of`, and kept on disk."""


class Detector(Protocol):
    """A score of how much an image looks like the training data: higher is more in-distribution.

    A detector that learns from the classifier's own data has ``fit(bank)``, which returns the scoring function; one
    that does not is the scoring function. It takes a `Response` and returns (R,); under a test-time method that shows
    the classifier several images, the score is the mean over these. A detector declared ``@detector(name, whole=True)``
    takes the method's `Answer` instead; one declared with ``rectified=True`` was made for features >= 0, and records
    say where they are not.

    sweep: optional class variable, candidates of the settings that can be tuned.
    """

    def __call__(self, seen: Any, /) -> Tensor: ...
