"""Images and their data sets, the conditions that they come under, and the metrics measured on them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image
    from torch import Tensor


@dataclass(frozen=True)
class Batch:
    """Images that travel together.

    ids: one stable name per *source* image; the same image under two corruptions has the same id.
    images: (B, 3, H, W) float32 RGB in [0, 1].
    labels: (B,) int64; -1 marks an image outside the classifier's classes.
    """

    ids: tuple[str, ...]
    images: Tensor
    labels: Tensor

    def __post_init__(self) -> None:
        if not len(self.ids) == len(self.images) == len(self.labels):
            raise ValueError(
                f"{len(self.ids)} ids, {len(self.images)} images and {len(self.labels)} labels in one batch"
            )

    def __len__(self) -> int:
        return len(self.ids)


Columns = Mapping[str, "Tensor"]
"""Columns of the sample table for one batch: (B,) or (B, K) per name."""


@dataclass(frozen=True)
class Geometry:
    """Resizing and cropping from an image on disk to a network input: part of the data set's protocol, not the model's.

    resize: shorter side in pixels, or None to leave the image as it is.
    crop: side of the centre crop in pixels, and so of every network input.
    interpolation: resampling filter of `resize`, as Pillow names it in small letters: "bilinear", "bicubic".
    """

    resize: int | None
    crop: int
    interpolation: str

    def scaled(self, crop: int) -> Geometry:
        """The same geometry at another size. crop: side of the centre crop in pixels."""
        resize = self.resize and round(self.resize * crop / self.crop)
        return Geometry(resize, crop, self.interpolation)


@dataclass(frozen=True)
class Condition:
    """One cell of a suite: the same classifier, a different world.

    name: unique within the suite, "gaussian_noise/5" for a corruption at a severity.
    group: conditions that are averaged before any other mean is taken (the corruption without its severity).
    scored: False for conditions that are reported but never averaged in (the four extra corruptions).
    severity: 1 to 5, 0 for clean images.
    size: number of images published for it, 0 if unknown. A run on fewer is partial.
    """

    name: str
    group: str
    scored: bool = True
    severity: int = 0
    size: int = 0


class Corruption(Protocol):
    """A way to damage images, in five severities: the 15 + 4 common corruptions, or a plugin of ``@corruption``."""

    def __call__(self, images: Tensor, severity: int, rngs: Sequence[np.random.Generator], /) -> Tensor:
        """The corrupted images (B, 3, H, W), in [0, 1]; they are then rounded to 8 bits.

        images: (B, 3, H, W) float32 RGB in [0, 1], on the 8-bit grid, on the CPU. severity: 1 to 5. rngs: a generator
        per image, keyed by (seed, corruption, severity, sample id), for everything random about it. Row b depends on
        image b and on rngs[b] alone.
        """


@dataclass(frozen=True)
class Metric:
    """A number that can be defended: its value, its interval, and the number of source images behind it.

    name: of the metric, such as "accuracy".
    condition: name of a condition, or of a mean over several.
    interval: its two ends, 95 % confidence.
    n: number of different source images.
    unit: of the value, such as "fraction" or "nats".
    higher_is_better: direction in which a leaderboard ranks.
    """

    name: str
    condition: str
    value: float
    interval: tuple[float, float]
    n: int
    unit: str
    higher_is_better: bool


class Dataset(Protocol):
    """Labelled images with stable ids. Reading is random access: shards and resumed runs replay nothing.

    name: of the data set; models that declare it were trained for it.
    num_classes: number of classes K.
    geometry: resizing and cropping of its images.
    """

    name: str
    num_classes: int
    geometry: Geometry

    @property
    def ids(self) -> Sequence[str]:
        """N different names, in an order that never changes."""

    @property
    def labels(self) -> Tensor:
        """(N,) int64 in [-1, K); -1 marks an image outside the classes."""

    @property
    def classes(self) -> Sequence[str]:
        """Names by label; empty where classes are only numbered. Models with class names are matched by name."""

    @property
    def sha256(self) -> str:
        """Hash of ids, labels, and pixels or their manifest: two data sets with one hash are the same data."""

    def read(self, indices: Sequence[int]) -> Batch:
        """The samples at these positions of `ids`, in that order. Several threads may read at once.

        Raises BadImage for an image that cannot be read.
        """


class Pictures(Dataset, Protocol):
    """A data set that also gives its images at their stored size, which training crops at random."""

    def picture(self, index: int) -> Image:
        """One image, RGB, at its stored size. Raises BadImage for an image that cannot be read."""
