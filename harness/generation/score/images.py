"""Sets of images of one size, from archives, folders and data sets; only those that are looked at are in memory."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from harness.base.errors import Notice
from harness.data import class_folders, decoders, open_tree
from harness.data.classes import labelled
from harness.data.content_ids import by_content
from harness.data.decoding import naming, rgb
from harness.data.folder_contents import images, unread_note
from harness.data.layouts.folders import open_folders
from harness.data.layouts.npz import NpzFile, NpzRows, open_npz
from harness.data.pictures import EncodedImages
from harness.data.readahead import cores
from harness.metrics.generation.moments import Moments
from harness.types import Dataset, HarnessError

IMAGES, LABELS = "arr_0", "arr_1"
"""Names of both arrays in an archive of OpenAI's layout."""

MOMENTS = ("mu", "sigma")
"""Names of the mean and the covariance of Inception features in a reference archive of OpenAI's layout."""

LABEL_BYTES = 2**30
"""Bytes of labels at most."""

MOMENT_BYTES = 2**29
"""Bytes of a covariance at most: 8,192 dimensions in float64."""

UNTOLD = 2**53
"""Number of images behind statistics from a file, which do not tell it: taken as enough for their dimension."""

SYMMETRIC = 1e-6
"""Difference between a covariance and its transpose, as a share of its largest entry, that is rounding."""


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Images of one size.

    name: path or data set. n: images. size: height and width. sha256: of the images, and their order.
    read: images (stop - start, 3, H, W) float32 in [0, 1], on the 8-bit grid, from start and stop.
    labels: (n,) int64, or None where there are none, or nobody asked. workers: threads that read ahead.
    """

    name: str
    n: int
    size: tuple[int, int]
    sha256: str
    read: Callable[[int, int], Tensor]
    labels: Tensor | None = None
    workers: int = 0


@dataclass(frozen=True, eq=False)
class Statistics:
    """Mean (D,) and covariance (D, D) of the features of reference images, from a file. sha256: of both arrays."""

    mean: NDArray[Any]
    covariance: NDArray[Any]
    sha256: str

    @property
    def moments(self) -> Moments:
        """The same, of `UNTOLD` images."""
        return Moments(self.mean, self.covariance, UNTOLD)


@dataclass(frozen=True, eq=False)
class OpenedSet:
    """The content of a path: images, or statistics of features, or both as in OpenAI's reference archives."""

    images: ImageSet | None
    statistics: Statistics | None = None


def open_set(path: Path, classes: Sequence[str] | None = None, labels: bool = False) -> OpenedSet:
    """The images of an archive or a folder.

    Archive: OpenAI's layout, arr_0 (N, H, W, 3) uint8, arr_1 (N,) labels, mu and sigma. Folder: all images in it and
    below; the order is that of their content.

    labels: read them, from arr_1 or from class folders. classes: names by label, for the latter; None takes the
    folders' own, sorted. Raises HarnessError for anything that is neither.
    """
    if path.is_dir():
        return OpenedSet(_of_folder(path, classes, labels))
    archive = open_npz(path)
    if IMAGES not in archive.arrays and not set(MOMENTS) <= archive.arrays.keys():
        raise HarnessError(
            f"{path} has the arrays {', '.join(archive.arrays) or '(none)'}. Expected is OpenAI's layout: arr_0, "
            "images (N, H, W, 3) uint8, with labels arr_1 if there are any; in a reference also, or only, mu and sigma."
        )
    statistics = _statistics(archive) if set(MOMENTS) <= archive.arrays.keys() else None
    return OpenedSet(_of_archive(archive, labels) if IMAGES in archive.arrays else None, statistics)


def of_dataset(data: Dataset, name: str) -> ImageSet:
    """The images of a data set. name: for messages and records."""

    def read(start: int, stop: int) -> Tensor:
        return data.read(range(start, stop)).images

    height, width = read(0, 1).shape[-2:]
    return ImageSet(name, len(data.ids), (height, width), data.sha256, read, data.labels, decoders([data]))


def _of_archive(archive: NpzFile, labels: bool) -> ImageSet:
    path, array = archive.path, archive.arrays[IMAGES]
    if array.dtype != np.uint8 or len(array.shape) != 4 or array.shape[-1] != 3 or 0 in array.shape:
        raise HarnessError(
            f"{path}: arr_0 is {array}; expected are images as N x H x W x 3 uint8. Grey images are repeated in three "
            "channels; numbers x in [-1, 1] become uint8 by truncating (x + 1) * 127.5, as OpenAI does."
        )
    rows, sha256 = NpzRows(archive, IMAGES), archive.sha256(IMAGES)

    def read(start: int, stop: int) -> Tensor:
        return _scaled(rows(start, stop))

    count, height, width, _ = array.shape
    return ImageSet(str(path), count, (height, width), sha256, read, _labels(archive, count) if labels else None)


def _labels(archive: NpzFile, count: int) -> Tensor | None:
    if LABELS not in archive.arrays:
        return None
    array = archive.arrays[LABELS]
    if array.shape != (count,) or array.dtype.kind not in "iu":
        raise HarnessError(f"{archive.path}: arr_1 is {array}; expected are {count} integer labels, one an image.")
    return torch.from_numpy(archive.whole(LABELS, LABEL_BYTES).astype(np.int64))


def _statistics(archive: NpzFile) -> Statistics:
    """Mean and covariance; raises HarnessError for ones of other shapes, with NaN, and for no covariance."""
    path, shapes = archive.path, [archive.arrays[name].shape for name in MOMENTS]
    if len(shapes[0]) != 1 or shapes[1] != shapes[0] * 2 or any(archive.arrays[k].dtype.kind != "f" for k in MOMENTS):
        described = ", ".join(f"{name} {archive.arrays[name]}" for name in MOMENTS)
        raise HarnessError(f"{path}: {described}; expected are mu (D,) and sigma (D, D) of floating point.")
    mean, covariance = (archive.whole(name, MOMENT_BYTES).astype(np.float64) for name in MOMENTS)
    if not (np.isfinite(mean).all() and np.isfinite(covariance).all()):
        raise HarnessError(f"{path}: mu or sigma has NaN or infinite entries. Compute them anew.")
    largest = np.abs(covariance).max()
    if np.abs(covariance - covariance.T).max() > SYMMETRIC * largest or covariance.diagonal().min() < 0:
        raise HarnessError(f"{path}: sigma is no covariance: not symmetric, or negative on its diagonal.")
    return Statistics(mean, covariance, hashlib.sha256(mean.tobytes() + covariance.tobytes()).hexdigest())


def _of_folder(root: Path, classes: Sequence[str] | None, labels: bool) -> ImageSet:
    classed = labels and bool(class_folders(root)) and not images(root)
    source = by_content(open_folders(root) if classed else open_tree(root))
    if note := unread_note(source):
        warnings.warn(Notice(f"{root}: {note}"), stacklevel=3)
    first = _pixels(source, 0)

    def read(start: int, stop: int) -> Tensor:
        pixels = [_pixels(source, index) for index in range(start, stop)]
        for index, image in enumerate(pixels, start):
            if image.shape != first.shape:
                raise HarnessError(
                    f"{source.where(index)} has {image.shape[1]} x {image.shape[0]} pixels, "
                    f"{source.where(0)} has {first.shape[1]} x {first.shape[0]}. Bring all images to one size: "
                    "resizing changes the distances."
                )
        return _scaled(np.stack(pixels))

    digest = hashlib.sha256("\n".join(source.ids).encode()).hexdigest()
    targets = labelled(source, str(root), classes).labels if classed else None
    height, width, _ = first.shape
    return ImageSet(str(root), len(source.ids), (height, width), digest, read, targets, cores())


def _pixels(source: EncodedImages, index: int) -> NDArray[np.uint8]:
    """One image (H, W, 3); raises BadImage for one that cannot be read."""
    with naming(source.where(index)), source.open(index) as file:
        return np.asarray(rgb(file))


def _scaled(pixels: NDArray[np.uint8]) -> Tensor:
    """Pixels (B, H, W, 3) as images (B, 3, H, W) in [0, 1]."""
    return torch.from_numpy(pixels.copy()).permute(0, 3, 1, 2).float() / 255
