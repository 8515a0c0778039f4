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
from harness.data.layouts.trees import open_tree
from harness.data.pictures import SAMPLED, decoded
from harness.types import Batch, Geometry, HarnessError

LARGEST = 2**28
"""Bytes of a list at most: that of ImageNet's training images has 65 million."""

LINES = 4_000_000
"""Lines of a list at most."""

SHOWN = 200
"""Characters of a line that a message shows."""

RESTORE = "Restore the list from OpenOOD's benchmark_imglist."
"""Remedy for a damaged list."""


@dataclass(frozen=True)
class ImageList:
    """Images named by a text file with a line "path label" each: OpenOOD's ``benchmark_imglist``.

    file: the list. root: folder that its paths start from and stay below, though links may lead outside; a path is the
        id of its image, numbered if listed again.
    outside: whether all labels are -1, whatever the list says. classes: names by label; empty if unknown.
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
        lines = tuple(_parsed(self.file, number, line) for number, line in _read(self.file))
        wrong = [path for path, label in lines if not self.outside and not 0 <= label < self.num_classes]
        if wrong or not lines:
            fault = f"the label of {wrong[0]} must be one of 0 to {self.num_classes - 1}" if wrong else "it is empty"
            raise HarnessError(f"{self.file}: {fault}. {RESTORE}")
        self._check_folders(lines)
        return tuple((path, min(label, -1)) for path, label in lines) if self.outside else lines

    def _check_folders(self, lines: Sequence[tuple[str, int]]) -> None:
        """Raise HarnessError for an image whose folder is named after another class than its label's."""
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
        """Paths of the images below `root`, in the order of the list."""
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
        """Hash of the list's names and labels, and of the geometry."""
        text = "\n".join([str(self.geometry), *(f"{path} {label}" for path, label in self._lines)])
        return hashlib.sha256(text.encode()).hexdigest()

    @cached_property
    def sha256(self) -> str:
        """Hash of the list and of the sizes of about `SAMPLED` files spread over it: reading all pixels takes hours."""
        sampled = self.paths[:: max(1, len(self.paths) // SAMPLED)]
        try:
            sizes = [str((self.root / path).stat().st_size) for path in sampled]
        except OSError as error:
            raise HarnessError(f"{error.filename} is not a readable image ({error.strerror}). Restore it.") from error
        return hashlib.sha256("\n".join([self.list_sha256, *sizes]).encode()).hexdigest()

    def picture(self, index: int) -> Image.Image:
        """One image, RGB, at its stored size."""
        with naming(self.where(index)), regular(self.root / self.paths[index]) as file:
            return rgb(file)

    def where(self, index: int) -> str:
        """The path of an image, for messages."""
        return str(self.root / self.paths[index])

    def read(self, indices: Sequence[int]) -> Batch:
        return decoded(self, indices)


def lines_of(folder: Path, root: Path, classes: Sequence[str] = ()) -> list[str]:
    """The lines "path label" of a list for all images below a folder, sorted; paths start from `root`.

    classes: names by label, of which the folders right below `folder` must be some; without, all labels are -1.
    Raises HarnessError for folders of no class, and for paths that a list cannot hold.
    """
    try:
        start = folder.resolve().relative_to(root.resolve()).as_posix()
    except ValueError as error:
        raise HarnessError(f"{folder} must lie in {root}, the folder that the paths of a list start from.") from error
    numbers = {name: number for number, name in enumerate(classes)}
    lines: list[str] = []
    for file in open_tree(folder).files:
        name, slash, _ = file.partition("/")
        if classes and not (slash and name in numbers):
            raise HarnessError(
                f"{folder / file} lies in no folder of a class. Name the folders right below {folder} after the classes"
                f" ({', '.join(classes[:3])}, ...), or leave the classes out for images out of distribution."
            )
        line = f"{start}/{file} {numbers.get(name, -1) if classes else -1}"
        if "\n" in line or line != line.strip():
            raise HarnessError(f"{folder / file} has a name that no list can hold. Rename it without blanks around it.")
        _parsed(folder, len(lines) + 1, line)
        lines.append(line)
    return lines


def _read(file: Path) -> Iterator[tuple[int, str]]:
    """Numbers, from 1, and text of the lines that are not empty; raises HarnessError for a file that is no list."""
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
        content_is = "in UTF-16" if wide else sniff(content[:STARTED]) or f"no text in UTF-8 (byte {error.start:,})"
        raise HarnessError(f"{file} is {content_is}. Save it as UTF-8, or fetch it again.") from error
    if content and (kind := sniff(content[:STARTED])):
        raise HarnessError(f"{file} is {kind}, and no image list. Fetch it again.")
    if len(lines) > LINES:
        raise HarnessError(f"{file} has more than {LINES:,} lines. {RESTORE}")
    return ((number, line.strip()) for number, line in enumerate(lines, 1) if line.strip())


def _parsed(file: Path, number: int, line: str) -> tuple[str, int]:
    """Path and label of a line, without blanks and tabs around them; raises HarnessError for any other line."""
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
