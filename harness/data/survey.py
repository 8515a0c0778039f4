"""A walk through a user's folder in search of data sets: names are listed once, within bounds; nothing is decoded."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from pathlib import Path

from harness.data.decoding import header, regular
from harness.data.folder_contents import is_image, is_other_folder
from harness.data.layouts.parquet import open_parquet
from harness.data.layouts.tars import open_tars
from harness.data.opening import SPELLINGS, is_of_split
from harness.data.pictures import EncodedImages
from harness.types import HarnessError

LISTED = 5_000
"""Names of one folder that are listed at most: more than the class folders of any benchmark."""

PEEKED = 50
"""Names of a class folder among which an example is sought."""

TRIED = 3
"""Sub-folders in which an example is sought."""

MANY = 100
"""Sub-folders from which on a folder holds classes or the like, and is searched no deeper."""

DEPTH = 3
"""Levels of sub-folders that are searched."""

PLACES = 2_000
"""Folders that are listed at most."""

TRAINING = "train"
"""Name of folders that are not gone into: their images are for no suite."""

SPLITS = (TRAINING, "val", "validation", "valid", "test")
"""Names of splits on disk."""


@dataclass(frozen=True)
class StoredSplit:
    """A split in one of the layouts of `harness.data.open_pictures`, as far as its names tell.

    names: of the classes; empty where the files only number them, or cannot be read.
    folder, example: one image, or one file that holds images. files: Parquet files or tars; none for class folders.
    held: the images of the example where it is such a file; None if they cannot be read.
    """

    names: Sequence[str]
    folder: Path
    example: str
    files: Sequence[str] = ()
    held: EncodedImages | None = field(default=None, repr=False)

    @property
    def image(self) -> str:
        """Name of one image, without its folder; "" if its file says none."""
        held = self.held.ids[:1] if self.held else ()
        return next(iter(held), "").rpartition("/")[2] if self.files else self.example

    def size(self) -> tuple[int, int]:
        """Width and height in pixels of one image, from its header; (0, 0) if it cannot be read."""
        if self.files and not self.held:
            return (0, 0)
        try:
            with self.held.open(0) if self.held else regular(self.folder / self.example) as file:
                return header(file).size
        except (HarnessError, OSError, ValueError):
            return (0, 0)


@dataclass(frozen=True)
class Recognised:
    """A suite's data in a folder.

    settings: of the suite, such as its `data`.
    uses: names in the folder that belong to the data; None for all.
    doubt: reason why other suites are possible, too; "" if the data can be no other's.
    fallback: true if the suite takes whatever no other suite recognises.
    problem: reason why the data cannot be evaluated as they lie, with the remedy; "" if they can.
    """

    settings: Mapping[str, str]
    uses: Collection[str] | None = None
    doubt: str = ""
    fallback: bool = False
    problem: str = ""


@dataclass(frozen=True, eq=False)
class Place:
    """A folder whose names are listed once, however many suites ask.

    path: the folder, as the user names it. depth: levels below the folder at which the walk began.
    """

    path: Path
    depth: int = 0
    _below: dict[str, Place] = field(default_factory=dict, repr=False)

    @cached_property
    def _names(self) -> tuple[Sequence[str], Sequence[str], bool]:
        try:
            with os.scandir(self.path) as entries:
                listed = list(islice(entries, LISTED + 1))
        except OSError:
            return (), (), False
        folders = sorted(e.name for e in listed if e.is_dir() and not is_other_folder(e.name))
        files = sorted(e.name for e in listed if not e.name.startswith(".") and not e.is_dir())
        return folders, files, len(listed) > LISTED

    @property
    def name(self) -> str:
        """Name of the folder."""
        return self.path.absolute().name

    @property
    def folders(self) -> Sequence[str]:
        """Names of the sub-folders, sorted; those among the first `LISTED` names."""
        return self._names[0]

    @property
    def files(self) -> Sequence[str]:
        """Names of the files, sorted; those among the first `LISTED` names."""
        return self._names[1]

    @property
    def is_cut(self) -> bool:
        """True if the folder has more names than are listed."""
        return self._names[2]

    def below(self, *names: str) -> Place:
        """The place of a sub-folder, whether it exists or not."""
        place = self
        for name in names:
            if name not in place._below:
                place._below[name] = Place(place.path / name, place.depth + 1)
            place = place._below[name]
        return place

    @cached_property
    def example(self) -> str:
        """Name of an image among the first names in the folder; "" if there is none."""
        try:
            with os.scandir(self.path) as entries:
                return min((e.name for e in islice(entries, PEEKED) if is_image(e.name)), default="")
        except OSError:
            return ""

    @cached_property
    def classes(self) -> StoredSplit | None:
        """The folder as one of class folders; None without an image in one of the first sub-folders."""
        for folder in map(self.below, self.folders[:TRIED]):
            if folder.example:
                return StoredSplit(self.folders, folder.path, folder.example)
        return None

    def split(self, name: str) -> StoredSplit | None:
        """A split below this folder, in any layout; None if there is none. name: "val" or "test"."""
        spellings = SPELLINGS.get(name, (name,))
        for spelling in spellings:
            if spelling in self.folders and (classes := self.below(spelling).classes):
                return classes
        for place in (self, *(self.below(spelling) for spelling in spellings if spelling in self.folders)):
            for ending in (".parquet", ".tar"):
                files = [file for file in place.files if file.endswith(ending)]
                if files := [f for f in files if place is not self or is_of_split(f.rpartition(".")[0], spellings)]:
                    held = _images_in(place.path, files[0])
                    return StoredSplit(tuple((held and held.names) or ()), place.path, files[0], files, held)
        return None

    @property
    def of_splits(self) -> set[str]:
        """Names of sub-folders and files that belong to some split."""
        files = [
            f for f in self.files if f.endswith((".parquet", ".tar")) and is_of_split(f.rpartition(".")[0], SPLITS)
        ]
        return {*files, *(folder for folder in self.folders if folder in SPLITS)}


def plain(text: str) -> str:
    """A name in small letters, without what separates its words: "ImageNet-C-Bar" and "imagenet_c_bar" are alike."""
    return re.sub(r"[-_. ]", "", text).lower()


def _images_in(folder: Path, file: str) -> EncodedImages | None:
    """The images of a Parquet file or tar; None if they cannot be read."""
    opened = open_parquet if file.endswith(".parquet") else open_tars
    try:
        images = opened(folder, [folder / file])
    except HarnessError:  # which the suite will report when it opens all files
        return None
    return images if len(images.ids) else None


def walk(root: Path) -> Iterator[tuple[Place, set[str]]]:
    """The folder and those below it, nearest first; the caller adds to each set the sub-folders not to go into.

    Bounded by `DEPTH`, `MANY` and `PLACES`. Links to folders are followed, but no folder is visited twice.
    """
    waiting = [Place(root)]
    seen: set[str] = set()
    while waiting and len(seen) < PLACES:
        place = waiting.pop(0)
        if (resolved := os.path.realpath(place.path)) in seen:
            continue
        seen.add(resolved)
        used: set[str] = set()
        yield place, used
        if place.depth < DEPTH and len(place.folders) <= MANY:
            waiting += [place.below(name) for name in place.folders if name not in used and name != TRAINING]
