"""What is measured, on what: images, the conditions they come under, and the numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
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
    """How an image on disk becomes a network input: a property of the data set's protocol, never of the model.

    resize: shorter side in pixels, or None to leave the image as it is.
    crop: side of the centre crop in pixels; the side of every image that comes out.
    interpolation: the resampling filter of `resize`.
    """

    resize: int | None
    crop: int
    interpolation: str

    def scaled(self, crop: int) -> Geometry:
        """The same geometry at another size."""
        resize = self.resize and round(self.resize * crop / self.crop)
        return Geometry(resize, crop, self.interpolation)


@dataclass(frozen=True)
class Condition:
    """One cell of a suite: the same classifier, a different world.

    name: unique within the suite, "gaussian_noise/5" for a corruption at a severity.
    group: conditions that are averaged before any other mean is taken (the corruption without its severity).
    scored: False for conditions that are reported but never averaged in (the four extra corruptions).
    severity: 1 to 5, 0 for clean images.
    size: how many images were published for it; 0 where nobody published any. A run on fewer is partial.
    """

    name: str
    group: str
    scored: bool = True
    severity: int = 0
    size: int = 0


@dataclass(frozen=True)
class Metric:
    """A number that can be defended: its value, its interval, and how many source images stand behind it."""

    name: str
    condition: str
    value: float
    interval: tuple[float, float]
    n: int
    unit: str
    higher_is_better: bool


class Dataset(Protocol):
    """Labelled images with stable ids. Reading is random access, so that shards and resumes need no replay."""

    name: str
    num_classes: int
    geometry: Geometry

    @property
    def ids(self) -> Sequence[str]:
        """N different names, in an order that never changes."""

    @property
    def labels(self) -> Tensor:
        """(N,) int64."""

    @property
    def classes(self) -> Sequence[str]:
        """Names by label; empty where the classes are only numbered. Models that name theirs are matched by name."""

    @property
    def sha256(self) -> str:
        """Hash of ids, labels and pixels or of their manifest: two data sets with one hash are the same data."""

    def read(self, indices: Sequence[int]) -> Batch:
        """The samples at these positions of `ids`, in that order. Several threads may read at once.

        Raises BadImage for an image that cannot be read.
        """


class Pictures(Dataset, Protocol):
    """A data set that also shows its images as they were stored: what training crops at random."""

    def picture(self, index: int) -> Image:
        """One image, RGB, whole, of whatever size it has. Raises BadImage for one that cannot be read."""
