"""Networks that map images to features, in which generated and reference images are compared."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from torch import Tensor

from harness import plugins
from harness.generation.score.images import ImageSet
from harness.generation.score.inception import INCEPTION, LIBRARY, PUBLISHED, RESIZING, inception_network
from harness.models.lookup import find_classifier
from harness.models.tiles import TiledClassifier, Tiles, finite
from harness.plugins.settings import parse
from harness.types import HarnessError, Weights

TILE = 100
"""Images per call of a classifier, as in evaluation: features do not depend on it, but for the last bits."""

INCEPTION_TILE = 25
"""The same of Inception, which makes 299 x 299 pixels of every image."""


@dataclass(frozen=True, eq=False)
class Extractor:
    """A network as the metrics of generated images see it.

    name: stands in the names of distances. sha256: of its weights. Numbers of two extractors never compare.
    features: from images (B, 3, H, W) in [0, 1], on the 8-bit grid, to (B, D) float32 on the CPU; a row depends on its
        image alone, whatever B.
    head: from features (B, D) to logits (B, K), for the inception score; None without.
    size: height and width of the images that it takes, None for any. resizing: in words, what it does with others.
    published: the Inception network of published numbers, whose distance is the FID.
    arithmetic: device, precision and libraries, which decide the last bits. tile: images per call.
    """

    name: str
    sha256: str
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


def find_extractor(text: str, device: str = "cpu") -> Extractor:
    """The extractor that a text names: a classifier's penultimate layer, or ``inception:weights=FILE``.

    Raises HarnessError for names and files that do not exist, and for classifiers without such a layer.
    """
    name, colon, rest = text.partition(":")
    if name != INCEPTION:
        return classifier_extractor(text, device)
    settings = parse(text, rest, {"weights": str}, {}) if colon else {}
    if "weights" not in settings:
        raise HarnessError(
            f"Extractor {text!r} needs its weights: inception:weights=FILE, where FILE is "
            "pt_inception-2015-12-05-6726825d.pth, published with pytorch-fid and torch-fidelity."
        )
    return inception_extractor(Path(settings["weights"]), device)


def classifier_extractor(text: str, device: str = "cpu") -> Extractor:
    """The penultimate layer of any classifier: registered, or from a file. Raises HarnessError where it has none."""
    network, weights = find_classifier(text)
    tiles = Tiles(TILE, device)
    classifier = TiledClassifier(network, tiles)

    def features(images: Tensor) -> Tensor:
        values = classifier.respond(images)[0]
        if not values.shape[1]:
            reason = classifier.shown(images)[1]
            raise HarnessError(f"Extractor {text!r} has no penultimate features: {reason}. Choose another model.")
        return finite(values, f"The penultimate layer of {text}")

    def head(values: Tensor) -> Tensor:
        return tiles(classifier.shown(values)[0].head, values)

    resizes = bool(weights.details.get("sizes"))
    return Extractor(
        text,
        weights.sha256,
        features,
        head,
        None if resizes else _size(weights),
        f"{weights.details.get('interpolation', 'bicubic')}, antialiased, in the network" if resizes else "none",
        arithmetic=_arithmetic(tiles),
    )


def inception_extractor(weights: Path, device: str = "cpu") -> Extractor:
    """Inception-v3 of the original FID, with weights of the user's, by torch-fidelity's network.

    Features are pool3, 2,048 dimensions; logits are those without bias, as published inception scores have it.
    """
    network, sha256 = inception_network(weights, device)
    tiles = Tiles(INCEPTION_TILE, device)
    published = sha256.startswith(PUBLISHED)

    def features(images: Tensor) -> Tensor:
        return finite(tiles(network, images), f"Inception with {weights}")

    def head(values: Tensor) -> Tensor:
        return tiles(network.head, values)

    return Extractor(
        INCEPTION if published else f"{INCEPTION}-{sha256[:8]}",
        sha256,
        features,
        head,
        resizing=RESIZING,
        published=published,
        arithmetic={**_arithmetic(tiles), LIBRARY: version(LIBRARY)},
        tile=INCEPTION_TILE,
    )


def _arithmetic(tiles: Tiles) -> Mapping[str, Any]:
    return {"device": tiles.device, "dtype": tiles.dtype, "tile": tiles.asked}


def _size(weights: Weights) -> tuple[int, int] | None:
    """Height and width of the images that a classifier was trained on; None where its weights do not say."""
    entry = plugins.dataset.get(str(weights.details.get("dataset", "")))
    side = entry.facts.get("image_size") if entry else None
    return (side, side) if side else None
