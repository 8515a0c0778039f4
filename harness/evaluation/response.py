"""The input of detectors: a classifier's response to the images that a test-time method shows it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor

from harness.evaluation import layers
from harness.models.tiles import TiledClassifier, Tiles, check_values
from harness.types import HarnessError, Unsuited


def penultimate(features: Tensor, reason: str) -> Tensor:
    """Penultimate features (R, D). Raises `Unsuited` with the reason where the network has none: D = 0."""
    if not features.shape[1]:
        raise Unsuited(
            f"it needs the features of the penultimate layer, and the model shows none: {reason}. Give the model "
            "features(images) and head(features) with head(features(images)) == model(images), or choose detectors "
            "that look at logits or probabilities: --detector msp --detector energy."
        )
    return features


class RecordingClassifier:
    """A classifier that records the images that a method shows it.

    shown: batches of images (B, 3, H, W), each once, in order.
    """

    def __init__(self, classifier: TiledClassifier) -> None:
        self.shown: list[Tensor] = []
        self._classifier = classifier

    def __call__(self, images: Tensor) -> Tensor:
        """Logits (B, K)."""
        if not any(images is batch for batch in self.shown):
            self.shown.append(images)
        return self._classifier.respond(images)[1]


@dataclass(frozen=True, eq=False)
class NetworkResponse:
    """See `harness.types.Response`."""

    images: Tensor
    logits: Tensor
    raw_features: Tensor
    network: Any
    reason: str = ""

    @property
    def features(self) -> Tensor:
        """Penultimate features (R, D)."""
        return penultimate(self.raw_features, self.reason)

    @property
    def probabilities(self) -> Tensor:
        """Softmax of the logits (R, K)."""
        return self.logits.softmax(-1)

    def classify(self, images: Tensor) -> Tensor:
        """Logits (R, K) of other images."""
        return cast(Tensor, self.network(images))

    def head(self, features: Tensor) -> Tensor:
        """Logits (R, K) of other features."""
        penultimate(self.raw_features, self.reason)
        return cast(Tensor, self.network.head(features))

    def gradient(self, loss: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor]:
        """Values (R,) of a loss of the logits (R, K), and its gradients (R, 3, H, W) by the images."""
        with torch.enable_grad():
            images = self.images.detach().clone().requires_grad_()
            values = loss(self.classify(images))
            try:
                check_values(values, len(images))
            except HarnessError as error:
                raise Unsuited(f"its gradient cannot be computed. {error}") from error
            (gradient,) = torch.autograd.grad(values.sum(), images)
        return values.detach(), gradient

    def layers(self, *names: str) -> tuple[Tensor, ...]:
        """Outputs (R, ...) of these layers for the images: see `harness.evaluation.layers.outputs`."""
        return layers.outputs(self.network, self.images, names)


@dataclass(frozen=True, eq=False)
class MethodAnswer:
    """See `harness.types.Answer`."""

    probabilities: Tensor
    views: Tensor


def check_independent(
    detect: Callable[[Any], Tensor], on_probabilities: bool, classifier: TiledClassifier, images: Tensor
) -> None:
    """Raise `Unsuited` for a detector whose scores depend on the other images of a batch, or on chance.

    on_probabilities: see `score`. images: (B, 3, H, W) in [0, 1], B > 1.
    """
    shown = [images, images.flip(-1)]

    def scores(rows: slice) -> Tensor:
        views = [view[rows] for view in shown]
        probabilities = classifier.respond(views[0])[1].softmax(-1)
        return score(detect, on_probabilities, classifier, probabilities, views if on_probabilities else views[:1])

    together, again, first = scores(slice(None)), scores(slice(None)), scores(slice(1))
    pairs = (together, again), (together[:1], first)
    if not all(torch.allclose(a, b, rtol=1e-5, equal_nan=True) for a, b in pairs):
        raise Unsuited(
            "it scores an image differently beside other images, or the second time: "
            "its numbers would depend on the batch size. It cannot be used here."
        )


def score(
    detect: Callable[[Any], Tensor],
    on_probabilities: bool,
    classifier: TiledClassifier,
    probabilities: Tensor,
    shown: Sequence[Tensor],
) -> Tensor:
    """Scores (B,) of a fitted detector, in float32 and in tiles, so that batch-mates do not matter.

    on_probabilities: the detector scores the method's `probabilities` (B, K); otherwise each batch of `shown`,
        (B, 3, H, W), and the score is the mean. Raises `Unsuited` where it returns anything but a score per image.
    """
    tiles = Tiles(classifier.tiles.size, classifier.tiles.device, cache=classifier.tiles.cache)
    if on_probabilities:
        views = [classifier.respond(images)[1].softmax(-1) for images in shown]
        return tiles(lambda p, *v: _one_each(detect(MethodAnswer(p, torch.stack(v))), len(p)), probabilities, *views)
    # Term by term: a reduction's order, and so its last bit, would depend on the number of images beside this one.
    total = torch.zeros(())
    network, reason = classifier.shown(shown[0])
    for images in shown:
        features, logits = classifier.respond(images)
        total = total + tiles(
            lambda x, f, z: _one_each(
                detect(NetworkResponse(images=x, logits=z, raw_features=f, network=network, reason=reason)), len(x)
            ),
            images,
            features,
            logits,
        )
    return total / len(shown)


def _one_each(scores: Any, images: int) -> Tensor:
    if not isinstance(scores, Tensor) or scores.shape != (images,):
        returned = f"shape {tuple(scores.shape)}" if isinstance(scores, Tensor) else f"a {type(scores).__name__}"
        raise Unsuited(f"it returned {returned} for {images} images, not a tensor ({images},): one score per image.")
    return scores
