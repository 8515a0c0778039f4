"""Images in .npy files, mapped into memory: CIFAR-10-C as published."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from harness.base.files import check_regular
from harness.base.signatures import sniff_file
from harness.types import Batch, Geometry, HarnessError


@dataclass(frozen=True, eq=False)
class MappedImages:
    """Part of an array on disk; only the images that are read come into memory.

    ids: N different names. pixels: (N, H, W, 3) uint8 RGB. labels: (N,) int64. classes: names by label.
    """

    name: str
    ids: tuple[str, ...]
    pixels: np.ndarray
    labels: Tensor
    num_classes: int
    geometry: Geometry
    classes: tuple[str, ...] = ()

    @cached_property
    def sha256(self) -> str:
        """Hash of ids, labels and all pixels: sizes would not do, as all files of one shape have the same."""
        digest = hashlib.sha256("\n".join(self.ids).encode())
        digest.update(self.labels.numpy().tobytes())
        digest.update(self.pixels.tobytes())
        return digest.hexdigest()

    def picture(self, index: int) -> Image.Image:
        """One image, RGB."""
        return Image.fromarray(self.pixels[index])

    def read(self, indices: Sequence[int]) -> Batch:
        rows = list(indices)
        images = torch.from_numpy(self.pixels[rows]).permute(0, 3, 1, 2).float() / 255
        return Batch(tuple(self.ids[i] for i in rows), images, self.labels[rows])


def open_mapped(
    file: Path, labels: Path, part: range, shape: tuple[int, ...], classes: int, geometry: Geometry, name: str
) -> MappedImages:
    """Rows `part` of an array of images on disk, and of the array of their labels.

    shape: that of the file's array, (N, H, W, 3). classes: number of classes. Raises HarnessError for files that are
    missing, damaged or of another shape or type, and for labels outside the classes.
    """
    pixels, targets = _array(file, shape, np.dtype(np.uint8)), _array(labels, shape[:1])
    here = torch.from_numpy(np.array(targets[part.start : part.stop], dtype=np.int64))
    least, most = int(here.min()), int(here.max())
    if least < 0 or most >= classes:
        raise HarnessError(f"{labels} holds labels from {least} to {most}; {name!r} has {classes} classes.")
    ids = tuple(f"test/{index:05d}" for index in range(len(part)))
    return MappedImages(name, ids, pixels[part.start : part.stop], here, classes, geometry)


def largest_label(file: Path) -> int:
    """The largest number in an array of labels on disk; -1 if it cannot be read as one."""
    try:
        check_regular(file)
        labels = np.lib.format.open_memmap(file, mode="r")
        return int(labels.max()) if labels.dtype.kind in "iu" and labels.ndim == 1 and len(labels) else -1
    except Exception:  # numpy's parser of headers raises many kinds of errors; `open_mapped` names the fault
        return -1


def _array(file: Path, shape: tuple[int, ...], dtype: np.dtype | None = None) -> np.ndarray:
    """The array of a .npy file, mapped into memory. dtype: expected; None for any integers."""
    try:
        check_regular(file)
        array: np.ndarray = np.lib.format.open_memmap(file, mode="r")
    except HarnessError:
        raise
    except Exception as error:  # numpy's parser of headers raises many kinds of errors
        raise HarnessError(f"{file} is not a readable array: {_fault(file, error)} Fetch it again.") from error
    fits = array.dtype == dtype if dtype else array.dtype.kind in "iu"
    if array.shape != shape or not fits:
        wanted = " x ".join(map(str, shape))
        there = " x ".join(map(str, array.shape))
        raise HarnessError(
            f"{file} holds {there} numbers of type {array.dtype}, where {wanted} of type {dtype or 'integer'} were "
            "published. It is cut short or something else: fetch it again."
        )
    return array


def _fault(file: Path, error: Exception) -> str:
    """The reason why a file is no readable array, in words for a message."""
    if isinstance(error, OSError):
        return f"{error.strerror or error}."
    kind = sniff_file(file)
    if kind == "an array of numpy (.npy)":
        return "it was cut short or damaged."
    return f"it is {kind or 'no .npy file'}."
