"""From encoded images to batches: decoding and geometry, for every reader in this one place."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import IO, Protocol

import numpy as np
import torch
from PIL import Image, ImageFile, UnidentifiedImageError
from torch import Tensor

from harness.data.classes import UNTOLD, Naming
from harness.types import BadImage, Batch, Geometry

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".ppm", ".pgm", ".tif", ".tiff")
"""What the name of an image file ends with, in small letters."""

SAMPLED = 50_000
"""Files whose sizes identify a data set, spread over it: all of a validation set, every 25th of ImageNet's training."""


class Source(Protocol):
    """Encoded images in a fixed order, as they lie on disk; it knows nothing of a benchmark's classes or geometry.

    root: for messages. ids: N different names.
    names: what the files call their classes, or None where they number them.
    targets: (N,) int64, positions in `names`, or the numbers.
    """

    @property
    def root(self) -> Path: ...

    @property
    def ids(self) -> Sequence[str]: ...

    @property
    def names(self) -> Sequence[str] | None: ...

    @property
    def targets(self) -> np.ndarray: ...

    def open(self, index: int) -> IO[bytes]:
        """The encoded image."""

    def where(self, index: int) -> str:
        """Where it lies, for messages."""

    def marks(self) -> Iterable[object]:
        """Sizes: what tells other images under the same names without reading them."""


@dataclass(frozen=True, eq=False)
class StoredPictures:
    """Images that are decoded when they are asked for: see `harness.types.Pictures`.

    labels: (N,) int64, positions in `classes`. naming: how they were found.
    """

    name: str
    source: Source
    labels: Tensor
    classes: tuple[str, ...]
    geometry: Geometry
    naming: Naming = UNTOLD

    @property
    def num_classes(self) -> int:
        return len(self.classes)

    @property
    def ids(self) -> Sequence[str]:
        return self.source.ids

    @cached_property
    def sha256(self) -> str:
        """Of geometry, ids, labels, and the sizes of what is stored: reading all pixels takes hours.

        Of the classes' names, too, unless they are those of a benchmark, which are always the same.
        """
        digest = hashlib.sha256("\n".join([str(self.geometry), *self.ids]).encode())
        digest.update(self.labels.numpy().tobytes())
        digest.update("\n".join(map(str, self.source.marks())).encode())
        if self.naming.order:
            digest.update(json.dumps(self.classes).encode())
        return digest.hexdigest()

    def picture(self, index: int) -> Image.Image:
        with naming(self.where(index)), self.source.open(index) as file:
            return rgb(file)

    def size(self, index: int) -> tuple[int, int]:
        """Width and height as the image's header has them: nothing is decoded."""
        with naming(self.where(index)), self.source.open(index) as file:
            return Image.open(file).size

    def where(self, index: int) -> str:
        """Where an image lies, for messages."""
        return self.source.where(index)

    def read(self, indices: Sequence[int]) -> Batch:
        return decoded(self, indices)


class Decodable(Protocol):
    """What `decoded` needs to know of a data set."""

    @property
    def ids(self) -> Sequence[str]: ...

    @property
    def labels(self) -> Tensor: ...

    @property
    def geometry(self) -> Geometry: ...

    def picture(self, index: int) -> Image.Image: ...

    def where(self, index: int) -> str: ...


def decoded(data: Decodable, indices: Sequence[int], pictures: Sequence[Image.Image] = ()) -> Batch:
    """The batch of these samples under the data's geometry; `pictures`, where they have been decoded already."""
    whole = pictures or (data.picture(i) for i in indices)
    pixels = np.stack([fit(picture, data.geometry, data.where(i)) for picture, i in zip(whole, indices, strict=True)])
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255
    return Batch(tuple(data.ids[i] for i in indices), images, data.labels[list(indices)])


def read_image(file: Path, geometry: Geometry) -> np.ndarray:
    """An image file as (crop, crop, 3) uint8 RGB; raises BadImage, naming the file."""
    with naming(str(file)), file.open("rb") as encoded:
        image = rgb(encoded)
    return fit(image, geometry, str(file))


def rgb(encoded: IO[bytes]) -> Image.Image:
    """A whole image, decoded: 8 bits per channel. Raises what Pillow raises, and ValueError for deeper images."""
    ImageFile.LOAD_TRUNCATED_IMAGES = False  # OpenOOD, once imported, has it that half an image is none the worse
    image = Image.open(encoded)
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        raise ValueError("it has more than 8 bits per channel, which would be cut off")
    return image.convert("RGB")


@contextmanager
def naming(where: str) -> Iterator[None]:
    """Whatever a disk or a codec objects to becomes a BadImage that names the image."""
    try:
        yield
    except BadImage:
        raise
    except Exception as error:  # every codec has errors of its own
        unknown = isinstance(error, UnidentifiedImageError)
        reason = "its format is unknown" if unknown else getattr(error, "strerror", None) or error
        raise BadImage(f"{where} is not a readable image ({reason}). Repair or replace it.") from error


def fit(image: Image.Image, geometry: Geometry, where: str) -> np.ndarray:
    """An RGB image as (crop, crop, 3) uint8: shorter side resized, then centre-cropped, as torchvision does it.

    Raises BadImage, naming `where` it comes from, for one that is too small.
    """
    image = resized(image, geometry, where)
    left, top = (round((side - geometry.crop) / 2) for side in image.size)
    return np.asarray(image.crop((left, top, left + geometry.crop, top + geometry.crop)))


def resized(image: Image.Image, geometry: Geometry, where: str) -> Image.Image:
    """An image before the geometry's crop; raises BadImage, naming `where` it comes from, for one that is too small."""
    return image.resize(check_size(image.size, geometry, where), Image.Resampling[geometry.interpolation.upper()])


def check_size(size: tuple[int, int], geometry: Geometry, where: str) -> tuple[int, int]:
    """Width and height after the geometry's resize; raises BadImage where the crop does not fit into them."""
    if geometry.resize:
        rest = int(geometry.resize * max(size) / min(size))
        size = (geometry.resize, rest) if size[0] <= size[1] else (rest, geometry.resize)
    if min(size) < geometry.crop:
        raise BadImage(f"{where} has {size[0]}x{size[1]} pixels, too few for a crop of {geometry.crop}. Replace it.")
    return size
