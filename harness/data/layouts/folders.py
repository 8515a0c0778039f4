"""A folder per class: ROOT/CLASS/*.jpg."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np

from harness.data.decoding import regular
from harness.data.folder_contents import SUFFIXES, images_and_unknown, is_other_folder
from harness.data.pictures import SAMPLED
from harness.types import HarnessError


@dataclass(frozen=True, eq=False)
class Folders:
    """Image files in class folders, sorted by path. Opening one lists names and reads no file.

    timm's ReaderImageFolder sorts numbers in names by value and silently skips images without a class; here an empty
    class folder is an error, and names are sorted as strings.

    root: the folder. names: of the class folders. ids: N different names. targets: (N,) int64, positions in `names`.
    files: paths of the images below `root`; the ids, unless these are the originals' names.
    sampled: number of files whose sizes identify the data set.
    unread: files below `root` that are neither read nor known to be no images.
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
        """Sizes in bytes of about `sampled` files, spread over all; -1 for a link to nothing."""
        for path in self.files[:: max(1, len(self.files) // self.sampled)]:
            try:
                yield os.stat(f"{self.root}/{path}").st_size  # pathlib would take most of the time
            except OSError:
                yield -1


def open_folders(root: Path, suffix: str = "", sampled: int = SAMPLED) -> Folders:
    """The images below a folder of class folders; raises HarnessError for a class without images.

    suffix: replaces the suffixes of files in ids: copies in another format then share the ids of their originals.
    sampled: number of files whose sizes identify the data set.
    """
    files: list[str] = []
    targets: list[int] = []
    names = class_folders(root)
    loose, unknown = images_and_unknown(root, names)
    unread = [f"{name} (beside the class folders)" for name in (*loose, *unknown)]
    for target, name in enumerate(names):
        images, unknown = images_and_unknown(root / name)
        if not images:
            raise HarnessError(
                f"No images in {root / name}. Every class folder needs some ({', '.join(SUFFIXES)}): add or remove."
                + (f" Found there: {unknown[0]}." if unknown else "")
            )
        files += (f"{name}/{file}" for file in images)
        unread += (f"{name}/{file}" for file in unknown)
        targets += [target] * len(images)
    check_names(root, files)
    ids = tuple(os.path.splitext(file)[0] + suffix for file in files) if suffix else tuple(files)
    if len(set(ids)) < len(ids):
        raise HarnessError(f"{root} holds an image in two formats: {Counter(ids).most_common(1)[0][0]}. Remove one.")
    where = ids if list(ids) == files else files
    return Folders(root, names, ids, np.array(targets, dtype=np.int64), where, sampled, tuple(unread))


def check_names(root: Path, files: Sequence[str]) -> None:
    """Raise HarnessError for names that are no text: as ids they stand in records."""
    try:
        "\n".join(files).encode()
    except UnicodeEncodeError as error:
        odd = next(file for file in files if not file.isascii() and _undecodable(file))
        shown = odd.encode(errors="surrogateescape")
        raise HarnessError(f"The name of {root}/{str(shown)[2:-1]} is not in UTF-8. Rename it.") from error


def _undecodable(name: str) -> bool:
    return any("\udc80" <= letter <= "\udcff" for letter in name)


def class_folders(root: Path) -> list[str]:
    """Names of the folders in a folder, sorted; empty for a folder that is missing or cannot be read."""
    try:
        with os.scandir(root) as entries:
            return sorted(e.name for e in entries if e.is_dir() and not is_other_folder(e.name))
    except OSError:
        return []
