"""Images named by a text file."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath

import torch
from PIL import Image
from torch import Tensor

from harness.base.files import read_limited
from harness.base.signatures import STARTED, sniff
from harness.data.decoding import naming, regular, rgb
from harness.data.pictures import SAMPLED, decoded
from harness.types import Batch, Geometry, HarnessError

LARGEST = 2**28
"""Bytes of a list: that of ImageNet's training images has 65 million."""

LINES = 4_000_000
SHOWN = 200
"""Letters of a line that a message shows."""

RESTORE = "Restore the list from OpenOOD's benchmark_imglist."


@dataclass(frozen=True)
class ImageList:
    """Images named by a text file with a line "path label" each: OpenOOD's ``benchmark_imglist``.

    file: the list. root: folder that its paths start from, and below which they stay, though links may lead outside; a
        path is its image's id, numbered if it is listed again.
    outside: all labels are -1, whatever the list says. classes: what its labels are positions in, by name.
    """

    name: str
    file: Path
    root: Path
    num_classes: int
    geometry: Geometry
    outside: bool = False
    classes: Sequence[str] = ()

    @cached_property
    def _lines(self) -> tuple[tuple[str, int], ...]:
        found = tuple(_parsed(self.file, number, line) for number, line in _read(self.file))
        wrong = [path for path, label in found if not self.outside and not 0 <= label < self.num_classes]
        if wrong or not found:
            what = f"the label of {wrong[0]} is none of the {self.num_classes} classes" if wrong else "it is empty"
            raise HarnessError(f"{self.file}: {what}. {RESTORE}")
        self._check_folders(found)
        return tuple((path, min(label, -1)) for path, label in found) if self.outside else found

    def _check_folders(self, lines: Sequence[tuple[str, int]]) -> None:
        """Raises HarnessError where an image lies in the folder of another class than its number says."""
        numbers = {} if self.outside else {name: number for number, name in enumerate(self.classes)}
        for path, label in lines:
            folder = path.rpartition("/")[0].rpartition("/")[2]
            if numbers.get(folder, label) != label:
                raise HarnessError(
                    f"{self.file}: {path} has the label {label}, which is {self.classes[label]!r} among the classes of "
                    f"{self.name!r}, and {folder!r} is {numbers[folder]}: the list numbers its classes in another "
                    f"order. {RESTORE}"
                )

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
        with naming(self.where(index)), regular(self.root / self.paths[index]) as file:
            return rgb(file)

    def where(self, index: int) -> str:
        """The path of an image, for messages."""
        return str(self.root / self.paths[index])

    def read(self, indices: Sequence[int]) -> Batch:
        return decoded(self, indices)


def _read(file: Path) -> Iterator[tuple[int, str]]:
    """Lines that are not empty, and their numbers, from 1; raises HarnessError for what is no list."""
    try:
        content = read_limited(file, LARGEST)
    except OSError as error:
        raise HarnessError(
            f"No image list at {file} ({error.strerror}). Unpack OpenOOD's benchmark_imglist into --data DIR."
        ) from error
    try:
        lines = content.decode("utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        wide = content[:2] in (b"\xff\xfe", b"\xfe\xff")
        known = "in UTF-16" if wide else sniff(content[:STARTED]) or f"no text in UTF-8 (byte {error.start:,})"
        raise HarnessError(f"{file} is {known}. Save it as UTF-8, or fetch it again.") from error
    if content and (kind := sniff(content[:STARTED])):
        raise HarnessError(f"{file} is {kind}, and no image list. Fetch it again.")
    if len(lines) > LINES:
        raise HarnessError(f"{file} has more than {LINES:,} lines. {RESTORE}")
    return ((number, line.strip()) for number, line in enumerate(lines, 1) if line.strip())


def _parsed(file: Path, number: int, line: str) -> tuple[str, int]:
    """Path and label of a line; blanks and tabs around them do not count."""
    where = f"{file}, line {number}"
    path, *label = line.rsplit(maxsplit=1)
    try:
        target = int(label[0])
    except (ValueError, IndexError) as error:
        raise HarnessError(f"{where} is {line[:SHOWN]!r}; every line must read 'path label'. {RESTORE}") from error
    if "\\" in path:
        raise HarnessError(f"{where}: {path[:SHOWN]!r} has backslashes, as Windows writes paths. Write / in the list.")
    parts = PurePosixPath(path)
    if parts.is_absolute() or ".." in parts.parts or "\0" in path:
        raise HarnessError(f"{where}: {path[:SHOWN]!r} leads out of the folder of images. {RESTORE}")
    if abs(target) > 2**31:
        raise HarnessError(f"{where}: {label[0][:SHOWN]} is no label. {RESTORE}")
    return path, target
