"""A folder per class: ROOT/CLASS/*.jpg."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np

from harness.data.contents import SUFFIXES, is_other_folder, sorted_out
from harness.data.decoding import regular
from harness.data.pictures import SAMPLED
from harness.types import HarnessError


@dataclass(frozen=True, eq=False)
class Folders:
    """Image files in class folders, sorted by path. Opening one lists names and reads no file.

    timm's ReaderImageFolder sorts numbers in names by value and leaves out in silence what has no class; here an empty
    class folder is an error, and the order is that of the names as strings.

    files: where the images lie below `root`; the ids, unless these are their originals' names.
    unread: files below `root` that are no images to read and not known to be something else.
    sampled: how many files' sizes tell this data set from another.
    """

    root: Path
    names: Sequence[str]
    ids: Sequence[str]
    targets: np.ndarray
    files: Sequence[str]
    sampled: int = SAMPLED
    unread: Sequence[str] = ()

    def open(self, index: int) -> IO[bytes]:
        return regular(self.root / self.files[index])

    def where(self, index: int) -> str:
        return str(self.root / self.files[index])

    def holders(self) -> Iterable[tuple[Path, int]]:
        """The files, of one image each."""
        return ((self.root / file, 1) for file in self.files)

    def marks(self) -> Iterable[int]:
        """Sizes of the files, of `sampled` of them where there are more; -1 for a link to nothing."""
        for path in self.files[:: max(1, len(self.files) // self.sampled)]:
            try:
                yield os.stat(f"{self.root}/{path}").st_size  # pathlib would take most of the time
            except OSError:
                yield -1


def open_folders(root: Path, suffix: str = "", sampled: int = SAMPLED) -> Folders:
    """The images below a folder of class folders; raises HarnessError for a class without images.

    suffix: what ids end in, whatever the files do: copies in another format then share the ids of their originals.
    """
    files: list[str] = []
    targets: list[int] = []
    names = class_folders(root)
    loose, strange = sorted_out(root, names)
    unread = [f"{name} (beside the class folders)" for name in (*loose, *strange)]
    for target, name in enumerate(names):
        found, strange = sorted_out(root / name)
        if not found:
            raise HarnessError(
                f"No images in {root / name}. Every class folder needs some ({', '.join(SUFFIXES)}): add or remove."
                + (f" Found there: {strange[0]}." if strange else "")
            )
        files += (f"{name}/{file}" for file in found)
        unread += (f"{name}/{file}" for file in strange)
        targets += [target] * len(found)
    _check_names(root, files)
    ids = tuple(os.path.splitext(file)[0] + suffix for file in files) if suffix else tuple(files)
    if len(set(ids)) < len(ids):
        raise HarnessError(f"{root} holds an image in two formats: {Counter(ids).most_common(1)[0][0]}. Remove one.")
    where = ids if list(ids) == files else files
    return Folders(root, names, ids, np.array(targets, dtype=np.int64), where, sampled, tuple(unread))


def _check_names(root: Path, files: Sequence[str]) -> None:
    """Names are ids, which stand in records: they must be text."""
    try:
        "\n".join(files).encode()
    except UnicodeEncodeError as error:
        odd = next(file for file in files if not file.isascii() and _undecodable(file))
        shown = odd.encode(errors="surrogateescape")
        raise HarnessError(f"The name of {root}/{str(shown)[2:-1]} is not in UTF-8. Rename it.") from error


def _undecodable(name: str) -> bool:
    return any("\udc80" <= letter <= "\udcff" for letter in name)


def class_folders(root: Path) -> list[str]:
    """Names of the folders in a folder, sorted; none where it is missing or closed."""
    try:
        with os.scandir(root) as entries:
            return sorted(e.name for e in entries if e.is_dir() and not is_other_folder(e.name))
    except OSError:
        return []
