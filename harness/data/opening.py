"""From a name or a folder to a data set: which layout lies there, and what is wrong with it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from harness import plugins
from harness.base.errors import missing
from harness.data.classes import labelled, numbers
from harness.data.contents import images, is_picture
from harness.data.identity import by_content
from harness.data.layouts.folders import class_folders, open_folders
from harness.data.layouts.parquet import open_parquet
from harness.data.layouts.tars import open_tars
from harness.data.pictures import SAMPLED, EncodedImages, StoredPictures
from harness.types import Absent, Dataset, Geometry, HarnessError

SPELLINGS = {"val": ("val", "validation", "valid")}
"""What else a split may be called on disk."""


def open_dataset(name: str, split: str, folder: str = "") -> Dataset:
    """A registered data set; `folder` is the ``--data`` of those that read one, and an error for those that do not."""
    entry = plugins.dataset[name]
    reads = entry.facts.get("reads_folder", False)
    if reads and not folder:
        raise Absent(f"Data set {name!r} needs its folder: --data DIR. {entry.summary}")
    if folder and not reads:
        raise HarnessError(f"Data set {name!r} reads no folder: leave out --data.")
    built: Dataset = entry.build(split, Path(folder)) if reads else entry.build(split)
    return built


def open_pictures(
    root: Path,
    split: str,
    geometry: Geometry,
    classes: Sequence[str] | None = None,
    *,
    name: str,
    aliases: Sequence[str] = (),
    named: bool = False,
) -> StoredPictures:
    """The images of one split, wherever below `root` and in whichever layout they lie.

    Layouts: ``SPLIT/CLASS/*.jpg``; Parquet files of the hub, ``SPLIT-*.parquet`` here, in a subfolder or in ``SPLIT/``;
    webdataset shards, ``*SPLIT*.tar`` in the same places.

    classes: names in the order of the labels; those that the data have may be fewer, and are found by name. None takes
        the data's own, in the order of the training split where that is there: one order for all splits.
    aliases: the same classes in other words. name: see `harness.types.Dataset`.
    named: ids are the names on disk and the order is that of the layout, for data whose names are known everywhere:
        ImageNet's. Otherwise see `harness.data.identity`. Training splits always keep names and order: checkpoints
        can be trained again to the bit.
    Raises HarnessError where nothing or more than one thing fits, or the classes are others.
    """
    source = _source(root, split)
    if not len(source.ids):
        unread = f" Not read: {', '.join(source.unread[:3])}." if source.unread else ""
        raise HarnessError(f"The files of the split {split!r} in {root} hold no images.{unread} Fetch them again.")
    if not named and split != "train":
        source = by_content(source)
    other = _training_classes(root) if classes is None and split != "train" else ()
    found = labelled(source, name, classes, aliases, other, split)
    beside = tuple(f"{file} (beside the splits)" for file in sorted(os.listdir(root)) if is_picture(file))
    return StoredPictures(name, source, found.labels, found.classes, geometry, found.naming, beside)


def _training_classes(root: Path) -> Sequence[str]:
    """What the training split calls its classes, or their numbers; nothing where it is not there."""
    found = list(_candidates(root, ("train",)))
    if not found:
        return ()
    if len(found) == 1 and found[0][0].is_dir():
        return class_folders(found[0][0])  # its images are nobody's business here
    source = _source(root, "train")
    return source.names if source.names is not None else numbers(int(source.targets.max(initial=-1)) + 1)


def benchmark_classes(name: str) -> tuple[str, ...]:
    """The class names of a data set that has the same in every folder, its fact of that name says; none of others."""
    if name not in plugins.dataset:
        return ()
    told = plugins.dataset[name].facts.get("classes", ())
    return tuple(told() if callable(told) else told)


def open_copy(
    root: Path, geometry: Geometry, classes: Sequence[str], name: str, *, suffix: str = "", sampled: int = SAMPLED
) -> StoredPictures:
    """The images of the class folders right below `root`: another version of a data set called `name`.

    suffix, sampled: see `harness.data.layouts.folders`. Raises HarnessError where there are no class folders, or the
    classes are not among `classes`.
    """
    if not class_folders(root):
        raise missing(root, f"{root} must hold CLASS/IMAGE, a folder per class. Found there: {listing(root)}.")
    source = open_folders(root, suffix, sampled)
    found = labelled(source, name, classes)
    return StoredPictures(name, source, found.labels, found.classes, geometry, found.naming)


def _source(root: Path, split: str) -> EncodedImages:
    found = list(_candidates(root, SPELLINGS.get(split, (split,))))
    if not found:
        raise missing(
            root,
            f"{root} must hold {split}/CLASS/*.jpg (a folder per class), {split}-*.parquet or {split}-*.tar. "
            f"{_instead(root, SPELLINGS.get(split, (split,)))}",
        )
    if len(found) > 1:
        several = " and ".join(str(paths[0]) for paths in found)
        raise HarnessError(f"{root} holds the split {split!r} more than once: {several}. Move all but one away.")
    (paths,) = found
    if paths[0].is_dir():
        return open_folders(paths[0])
    _check_complete(paths)
    return open_parquet(root, paths) if paths[0].suffix == ".parquet" else open_tars(root, paths)


def _instead(root: Path, spellings: Sequence[str]) -> str:
    """What lies where a split was looked for."""
    for folder in (root / name for name in spellings):
        if folder.is_dir():
            flat = f"{folder} holds no class folders: {listing(folder)}."
            return f"{flat} Sort the images into a folder per class." if images(folder) else flat
    above = f" If this is the split itself, give the folder above it, {root.absolute().parent}."
    return f"Found there: {listing(root)}." + (above if root.absolute().name in spellings else "")


def _candidates(root: Path, spellings: Sequence[str]) -> Iterator[list[Path]]:
    """The places where a split may lie: a folder of class folders, or files of one kind in one folder."""
    yield from ([root / name] for name in spellings if class_folders(root / name))
    for folder in (root, *(root / name for name in class_folders(root))):
        own = folder != root and folder.name in spellings
        for ending in (".parquet", ".tar"):
            files = _files(folder, ending)
            if paths := [f for f in files if own or not set(re.split(r"[-_.]", f.stem)).isdisjoint(spellings)]:
                yield paths


def _files(folder: Path, ending: str) -> list[Path]:
    try:
        return sorted(folder / name for name in os.listdir(folder) if name.endswith(ending) and name[0] != ".")
    except OSError:
        return []


def _check_complete(files: Sequence[Path]) -> None:
    """Files named 00003-of-00257 say how many there are."""
    counts = {int(found[1]) for file in files if (found := re.search(r"-of-(\d+)", file.stem))}
    if counts and counts != {len(files)}:
        raise HarnessError(
            f"{files[0].parent} has {len(files)} files like {files[0].name}, of {max(counts)}. Fetch the others, too."
        )


def listing(root: Path, most: int = 5) -> str:
    """What lies in a folder, for messages: the first names, or why it cannot be read."""
    try:
        names = sorted(os.listdir(root))
    except OSError as error:
        return error.strerror or str(error)
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "") or "nothing"
