"""Images named by a text file."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from harness.data.decoding import naming, regular, rgb
from harness.data.pictures import SAMPLED, decoded
from harness.types import Batch, Geometry, HarnessError


@dataclass(frozen=True)
class ImageList:
    """Images named by a text file with a line "path label" each: OpenOOD's ``benchmark_imglist``.

    file: the list. root: folder that its paths start from; a path is its image's id, numbered if it is listed again.
    outside: all labels are -1, whatever the list says.
    """

    name: str
    file: Path
    root: Path
    num_classes: int
    geometry: Geometry
    outside: bool = False

    @cached_property
    def _lines(self) -> tuple[tuple[str, int], ...]:
        try:
            lines = [line.rpartition(" ") for line in self.file.read_text().splitlines() if line.strip()]
            found = tuple((path, min(int(label), -1) if self.outside else int(label)) for path, _, label in lines)
        except OSError as error:
            raise HarnessError(
                f"No image list at {self.file} ({error.strerror}). Unpack OpenOOD's benchmark_imglist into --data DIR."
            ) from error
        except ValueError as error:
            raise HarnessError(f"{self.file}: every line must read 'path label' ({error}).") from error
        wrong = [path for path, label in found if not self.outside and not 0 <= label < self.num_classes]
        if wrong or not found:
            what = f"the label of {wrong[0]} is none of the {self.num_classes} classes" if wrong else "it is empty"
            raise HarnessError(f"{self.file}: {what}. Restore the list from OpenOOD's benchmark_imglist.")
        return found

    @cached_property
    def paths(self) -> Sequence[str]:
        """Where the images lie below `root`, in the order of the list."""
        return tuple(path for path, _ in self._lines)

    @cached_property
    def ids(self) -> Sequence[str]:
        seen: Counter[str] = Counter()
        names = []
        for path in self.paths:
            seen[path] += 1
            names.append(path if seen[path] == 1 else f"{path}#{seen[path]}")
        return tuple(names)

    @cached_property
    def labels(self) -> Tensor:
        return torch.tensor([label for _, label in self._lines])

    @cached_property
    def list_sha256(self) -> str:
        """Of the list's names and labels, and of the geometry."""
        text = "\n".join([str(self.geometry), *(f"{path} {label}" for path, label in self._lines)])
        return hashlib.sha256(text.encode()).hexdigest()

    @cached_property
    def sha256(self) -> str:
        """Of the list and of the files' sizes, for `SAMPLED` images spread over it: reading all pixels takes hours."""
        sampled = self.paths[:: max(1, len(self.paths) // SAMPLED)]
        try:
            sizes = [str((self.root / path).stat().st_size) for path in sampled]
        except OSError as error:
            raise HarnessError(f"{error.filename} is not a readable image ({error.strerror}). Restore it.") from error
        return hashlib.sha256("\n".join([self.list_sha256, *sizes]).encode()).hexdigest()

    def picture(self, index: int) -> Image.Image:
        """One image, RGB, whole."""
        with naming(self.where(index)), (self.root / self.paths[index]).open("rb") as file:
            return rgb(file)

    def where(self, index: int) -> str:
        """The path of an image, for messages."""
        return str(self.root / self.paths[index])

    def read(self, indices: Sequence[int]) -> Batch:
        return decoded(self, indices)
