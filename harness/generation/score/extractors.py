"""Networks that map images to features, in which generated and reference images are compared."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from harness import plugins
from harness.generation.score.images import ImageSet
from harness.generation.score.inception import INCEPTION, LIBRARY, PUBLISHED, RESIZING, inception_network
from harness.metrics.generation.scores import ComparedFeatures
from harness.models.lookup import find_classifier
from harness.models.matching import match
from harness.models.published.locate import WeightFiles
from harness.models.tiles import TiledClassifier, Tiles, finite
from harness.plugins.settings import parse
from harness.types import Dataset, HarnessError, Weights

TILE = 100
"""Images per call of a classifier, as in evaluation: features do not depend on it, but for the last bits."""

INCEPTION_TILE = 25
"""The same of Inception, which makes 299 x 299 pixels of every image."""


@dataclass(frozen=True, eq=False)
class Extractor:
    """A network as the metrics of generated images see it.

    name: stands in the names of metrics. sha256: of its weights. Numbers of two extractors never compare.
    dimension: D.
    features: from images (B, 3, H, W) in [0, 1], on the 8-bit grid, to (B, D) float32 on the CPU; a row depends on its
        image alone, whatever B.
    head: from features (B, D) to logits (B, K), for the inception score; None without.
    size: height and width of the images that it takes, None for any. resizing: in words, what it does with others.
    published: the Inception network of published numbers, whose distance is the FID.
    arithmetic: device, precision and libraries, which decide the last bits. tile: images per call.
    """

    name: str
    sha256: str
    dimension: int
    features: Callable[[Tensor], Tensor]
    head: Callable[[Tensor], Tensor] | None = None
    size: tuple[int, int] | None = None
    resizing: str = "none"
    published: bool = False
    arithmetic: Mapping[str, Any] = field(default_factory=dict)
    tile: int = TILE

    def check(self, images: ImageSet) -> None:
        """Raise HarnessError for images of a size that the network does not take."""
        if self.size and images.size != self.size:
            height, width = self.size
            raise HarnessError(
                f"{images.name} has images of {images.size[1]} x {images.size[0]} pixels, and {self.name} takes "
                f"{width} x {height}. Choose another extractor, or resize the images and say so beside the numbers."
            )

    def compared(self, generated: NDArray[Any], reference: NDArray[Any] | None, **settings: Any) -> ComparedFeatures:
        """Features (M, D) and (N, D) of this network, for the metrics. settings: see `ComparedFeatures`."""
        logits = self._logits if self.head else None
        return ComparedFeatures(self.name, generated, reference, logits=logits, published=self.published, **settings)

    def _logits(self, features: NDArray[Any]) -> NDArray[Any]:
        """Logits (N, K) float32 of stored features (N, D)."""
        assert self.head
        return np.asarray(self.head(torch.from_numpy(np.asarray(features, dtype=np.float32))))


def find_extractor(
    text: str,
    images: ImageSet,
    device: str = "cpu",
    data: Dataset | None = None,
    weight_files: WeightFiles | None = None,
) -> Extractor:
    """The extractor that a text names: a classifier's penultimate layer, or ``inception:weights=FILE``.

    images: of the kind that it will see; it looks at two. data: data set whose classes a classifier's outputs are
    matched with, by name; None leaves them as they are. weight_files: places of published weights; without, the weights
    folder. Raises HarnessError for names and files that do not exist, for
    classifiers without such a layer or of other classes, and for images of a size that they do not take.
    """
    if not is_inception(text):
        return _classifier(text, images, device, data, weight_files)
    _, colon, rest = text.partition(":")
    settings = parse(text, rest, {"weights": str}, {}) if colon else {}
    if "weights" not in settings:
        raise HarnessError(
            f"Extractor {text!r} needs its weights: inception:weights=FILE, where FILE is "
            "pt_inception-2015-12-05-6726825d.pth, published with pytorch-fid and torch-fidelity."
        )
    return _inception(Path(settings["weights"]), device)


def is_inception(text: str) -> bool:
    """True for the name of Inception, with or without settings."""
    return text.partition(":")[0] == INCEPTION


def _classifier(
    text: str, images: ImageSet, device: str, data: Dataset | None, weight_files: WeightFiles | None
) -> Extractor:
    """The penultimate layer of any classifier: registered, or from a file."""
    network, weights = find_classifier(text, weight_files)
    if data is not None:
        network = match({"": data}, {text: (network, weights)}).networks[text]
    tiles = Tiles(TILE, device)
    classifier = TiledClassifier(network, tiles)

    def features(batch: Tensor) -> Tensor:
        return finite(classifier.respond(batch)[0], f"The penultimate layer of {text}")

    own, resizing = _size(weights), "none"
    if weights.details.get("sizes"):
        own, resizing = None, f"{weights.details.get('interpolation', 'bicubic')}, antialiased, in the network"
    extractor = Extractor(text, weights.sha256, 0, features, size=own, resizing=resizing, arithmetic=_arithmetic(tiles))
    extractor.check(images)
    few = images.read(0, min(2, images.n))
    shown, reason = classifier.shown(few)
    if reason:
        raise HarnessError(f"Extractor {text!r} has no penultimate features: {reason}. Choose another model.")
    return replace(extractor, dimension=features(few).shape[1], head=_on(device, shown.head))


def _inception(weights: Path, device: str) -> Extractor:
    """Inception-v3 of the original FID, with weights of the user's, by torch-fidelity's network.

    Features are pool3, 2,048 dimensions; logits are those without bias, as published inception scores have it.
    """
    network, sha256 = inception_network(weights, device)
    tiles = Tiles(INCEPTION_TILE, device)
    published = sha256.startswith(PUBLISHED)

    def features(images: Tensor) -> Tensor:
        return finite(tiles(network, images), f"Inception with {weights}")

    return Extractor(
        INCEPTION if published else f"{INCEPTION}-{sha256[:8]}",
        sha256,
        network.dimension,
        features,
        _on(device, network.head),
        resizing=RESIZING,
        published=published,
        arithmetic={**_arithmetic(tiles), LIBRARY: version(LIBRARY)},
        tile=INCEPTION_TILE,
    )


def _on(device: str, head: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """A head on a device as a function of features on the CPU: one product, of all rows at once."""

    def logits(features: Tensor) -> Tensor:
        with torch.no_grad():
            return head(features.to(device)).float().cpu()

    return logits


def _arithmetic(tiles: Tiles) -> Mapping[str, Any]:
    return {"device": tiles.device, "dtype": tiles.dtype, "tile": tiles.asked}


def _size(weights: Weights) -> tuple[int, int] | None:
    """Height and width of the images that a classifier was trained on; None where its weights do not say."""
    entry = plugins.dataset.get(str(weights.details.get("dataset", "")))
    side = entry.facts.get("image_size") if entry else None
    return (side, side) if side else None
