"""Batches from encoded images: decoding and geometry, the same for every layout."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import IO, Protocol

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from harness.data.classes import UNTOLD, Naming
from harness.data.decoding import header, naming, one_at_a_time, regular, rgb
from harness.types import BadImage, Batch, Geometry

SAMPLED = 50_000
"""Files whose sizes identify a data set, spread over it: all of ImageNet's validation, every 25th of its training."""


class EncodedImages(Protocol):
    """Encoded images in a fixed order, as they lie on disk, without a benchmark's classes or geometry.

    root: folder, for messages. ids: N different names.
    names: the files' names of the classes, None where classes are numbered.
    targets: (N,) int64, positions in `names`, or the numbers.
    unread: files among the images that are neither read nor known to be no images, see `harness.data.folder_contents`.
    """

    @property
    def root(self) -> Path: ...

    @property
    def ids(self) -> Sequence[str]: ...

    @property
    def names(self) -> Sequence[str] | None: ...

    @property
    def targets(self) -> np.ndarray: ...

    @property
    def unread(self) -> Sequence[str]: ...

    def open(self, index: int) -> IO[bytes]:
        """The encoded image."""

    def where(self, index: int) -> str:
        """Its place on disk, for messages."""

    def holders(self) -> Iterable[tuple[Path, int]]:
        """The files on disk in the order of the images, each with the number of images in it."""

    def marks(self) -> Iterable[object]:
        """Sizes, which distinguish other images under the same names without reading them."""


@dataclass(frozen=True, eq=False)
class StoredPictures:
    """Images that are decoded when they are read: see `harness.types.Pictures`.

    labels: (N,) int64, positions in `classes`. naming: how labels were matched to classes.
    beside: images beside the folders or files of the split, which are not read.
    """

    name: str
    source: EncodedImages
    labels: Tensor
    classes: tuple[str, ...]
    geometry: Geometry
    naming: Naming = UNTOLD
    beside: tuple[str, ...] = ()

    @property
    def num_classes(self) -> int:
        return len(self.classes)

    @property
    def ids(self) -> Sequence[str]:
        return self.source.ids

    @cached_property
    def sha256(self) -> str:
        """Hash of geometry, ids, labels, and stored sizes: reading all pixels takes hours.

        Class names enter unless they are a benchmark's, which are always the same.
        """
        digest = hashlib.sha256("\n".join([str(self.geometry), *self.ids]).encode())
        digest.update(self.labels.numpy().tobytes())
        digest.update("\n".join(map(str, self.source.marks())).encode())
        if self.naming.order:
            digest.update(json.dumps(self.classes).encode())
        return digest.hexdigest()

    @property
    def unread(self) -> Sequence[str]:
        """Files that are not read, see `harness.data.folder_contents`."""
        return (*self.source.unread, *self.beside)

    def picture(self, index: int) -> Image.Image:
        with naming(self.where(index)), self.source.open(index) as file:
            return rgb(file)

    def size(self, index: int) -> tuple[int, int]:
        """Width and height in pixels from the image's header: nothing is decoded."""
        with naming(self.where(index)), self.source.open(index) as file:
            return header(file).size

    def where(self, index: int) -> str:
        """The place of an image on disk, for messages."""
        return self.source.where(index)

    def called(self, index: int) -> str:
        """The name of an image on disk, below its data set's folder, also where ids are hashes of content."""
        return str(getattr(self.source, "source", self.source).ids[self.place(index)])

    def place(self, index: int) -> int:
        """The position of an image in the order on disk, in which reading is fastest."""
        places = getattr(self.source, "places", None)
        return index if places is None else int(places[index])

    def read(self, indices: Sequence[int]) -> Batch:
        return decoded(self, indices)


class Decodable(Protocol):
    """The part of a data set that `decoded` needs."""

    @property
    def ids(self) -> Sequence[str]: ...

    @property
    def labels(self) -> Tensor: ...

    @property
    def geometry(self) -> Geometry: ...

    def picture(self, index: int) -> Image.Image: ...

    def where(self, index: int) -> str: ...


def decoded(data: Decodable, indices: Sequence[int], pictures: Sequence[Image.Image] = ()) -> Batch:
    """The batch of these samples under the data's geometry. pictures: the images, if they are decoded already."""
    pixels = np.stack([_fitted(data, i, pictures[k] if pictures else None) for k, i in enumerate(indices)])
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255
    return Batch(tuple(data.ids[i] for i in indices), images, data.labels[list(indices)])


def _fitted(data: Decodable, index: int, picture: Image.Image | None) -> np.ndarray:
    with one_at_a_time():
        return fit(picture or data.picture(index), data.geometry, data.where(index))


def read_image(file: Path, geometry: Geometry) -> np.ndarray:
    """An image file as (crop, crop, 3) uint8 RGB; raises BadImage, naming the file."""
    with naming(str(file)), regular(file) as encoded:
        image = rgb(encoded)
    return fit(image, geometry, str(file))


def fit(image: Image.Image, geometry: Geometry, where: str) -> np.ndarray:
    """An RGB image as (crop, crop, 3) uint8: shorter side resized, then centre-cropped, as torchvision does it.

    Raises BadImage, with its place `where`, for an image that is too small.
    """
    image = resized(image, geometry, where)
    left, top = (round((side - geometry.crop) / 2) for side in image.size)
    return np.asarray(image.crop((left, top, left + geometry.crop, top + geometry.crop)))


def resized(image: Image.Image, geometry: Geometry, where: str) -> Image.Image:
    """An image before the geometry's crop; raises BadImage, with its place `where`, for an image that is too small."""
    return image.resize(check_size(image.size, geometry, where), Image.Resampling[geometry.interpolation.upper()])


def check_size(size: tuple[int, int], geometry: Geometry, where: str) -> tuple[int, int]:
    """Width and height after the geometry's resize; raises BadImage if the crop does not fit into them."""
    if geometry.resize:
        rest = int(geometry.resize * max(size) / min(size))
        size = (geometry.resize, rest) if size[0] <= size[1] else (rest, geometry.resize)
    if min(size) < geometry.crop:
        raise BadImage(f"{where} has {size[0]}x{size[1]} pixels, too few for a crop of {geometry.crop}. Replace it.")
    return size
