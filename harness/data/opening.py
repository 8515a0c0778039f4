"""Data sets opened by name or folder: the layout is detected, and faults are reported."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from harness import plugins
from harness.base.errors import missing
from harness.data.classes import labelled, numbers
from harness.data.content_ids import by_content
from harness.data.folder_contents import images, is_picture
from harness.data.layouts.folders import class_folders, open_folders
from harness.data.layouts.parquet import open_parquet
from harness.data.layouts.tars import open_tars
from harness.data.pictures import SAMPLED, EncodedImages, StoredPictures
from harness.types import Absent, Dataset, Geometry, HarnessError

SPELLINGS = {"val": ("val", "validation", "valid")}
"""Names of a split on disk, by split."""


def open_dataset(name: str, split: str, folder: str = "", **settings: Any) -> Dataset:
    """A registered data set.

    folder: its ``--data``; required for data sets that read a folder, an error for all others.
    settings: further arguments of its builder.
    """
    entry = plugins.dataset[name]
    reads = entry.facts.get("reads_folder", False)
    if reads and not folder:
        raise Absent(f"Data set {name!r} needs its folder: --data DIR. {entry.summary}")
    if folder and not reads:
        raise HarnessError(f"Data set {name!r} reads no folder: leave out --data.")
    built: Dataset = entry.build(split, Path(folder), **settings) if reads else entry.build(split, **settings)
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
    """The images of one split, in any of three layouts below `root`.

    Layouts: ``SPLIT/CLASS/*.jpg``; Parquet files of the hub, ``SPLIT-*.parquet`` here, in a subfolder or in ``SPLIT/``;
    webdataset shards, ``*SPLIT*.tar`` in the same places.

    classes: names in the order of the labels; the data may have fewer, which are matched by name. None takes the data's
        own, in the order of the training split if there is one: one order for all splits.
    aliases: the same classes in other words. name: of the data set.
    named: whether ids are names on disk in the order of the layout, for data with names known everywhere, such as
        ImageNet's; otherwise see `harness.data.content_ids`. Training splits always keep names and order, so that
        checkpoints can be trained again bit for bit.
    Raises HarnessError if no place or several have the split, or if the classes differ.
    """
    source = _source(root, split)
    if not len(source.ids):
        unread = f" Not read: {', '.join(source.unread[:3])}." if source.unread else ""
        raise HarnessError(f"The files of the split {split!r} in {root} hold no images.{unread} Fetch them again.")
    if not named and split != "train":
        source = by_content(source)
    other = _training_classes(root) if classes is None and split != "train" else ()
    target = labelled(source, name, classes, aliases, other, split)
    beside = tuple(f"{file} (beside the splits)" for file in sorted(os.listdir(root)) if is_picture(file))
    return StoredPictures(name, source, target.labels, target.classes, geometry, target.naming, beside)


def _training_classes(root: Path) -> Sequence[str]:
    """Names or numbers of the classes in the training split; empty if there is no such split."""
    candidates = list(_candidates(root, ("train",)))
    if not candidates:
        return ()
    if len(candidates) == 1 and candidates[0][0].is_dir():
        return class_folders(candidates[0][0])  # its images do not matter here
    source = _source(root, "train")
    return source.names if source.names is not None else numbers(int(source.targets.max(initial=-1)) + 1)


def benchmark_classes(name: str) -> tuple[str, ...]:
    """Class names that a data set declares as its fact `classes`, the same in every folder; empty without this fact."""
    if name not in plugins.dataset:
        return ()
    classes = plugins.dataset[name].facts.get("classes", ())
    return tuple(classes() if callable(classes) else classes)


def open_copy(
    root: Path, geometry: Geometry, classes: Sequence[str], name: str, *, suffix: str = "", sampled: int = SAMPLED
) -> StoredPictures:
    """The images of the class folders right below `root`: another version of a data set called `name`.

    suffix, sampled: see `harness.data.layouts.folders`. Raises HarnessError if there are no class folders, or if these
    are not among `classes`.
    """
    if not class_folders(root):
        raise missing(root, f"{root} must hold CLASS/IMAGE, a folder per class. Found there: {listing(root)}.")
    source = open_folders(root, suffix, sampled)
    target = labelled(source, name, classes)
    return StoredPictures(name, source, target.labels, target.classes, geometry, target.naming)


def _source(root: Path, split: str) -> EncodedImages:
    candidates = list(_candidates(root, SPELLINGS.get(split, (split,))))
    content = f"{split}/CLASS/*.jpg (a folder per class), {split}-*.parquet or {split}-*.tar"
    if not candidates and not root.exists():
        raise missing(root, f"There is no folder {root}. Check the path in --data; it must hold {content}.")
    if not candidates:
        instead = _instead(root, SPELLINGS.get(split, (split,)))
        raise missing(root, f"{root} must hold {content}. {instead}")
    if len(candidates) > 1:
        several = " and ".join(str(paths[0]) for paths in candidates)
        raise HarnessError(f"{root} holds the split {split!r} more than once: {several}. Move all but one away.")
    (paths,) = candidates
    if paths[0].is_dir():
        return open_folders(paths[0])
    _check_complete(paths)
    return open_parquet(root, paths) if paths[0].suffix == ".parquet" else open_tars(root, paths)


def _instead(root: Path, spellings: Sequence[str]) -> str:
    """Sentence on the content of the folder in which a split is missing."""
    for folder in (root / name for name in spellings):
        if folder.is_dir():
            flat = f"{folder} holds no class folders: {listing(folder)}."
            return f"{flat} Sort the images into a folder per class." if images(folder) else flat
    above = f" If this is the split itself, give the folder above it, {root.absolute().parent}."
    return f"Found there: {listing(root)}." + (above if root.absolute().name in spellings else "")


def _candidates(root: Path, spellings: Sequence[str]) -> Iterator[list[Path]]:
    """Places that may hold a split: a folder of class folders, or files of one kind in one folder."""
    yield from ([root / name] for name in spellings if class_folders(root / name))
    for folder in (root, *(root / name for name in class_folders(root))):
        own = folder != root and folder.name in spellings
        for ending in (".parquet", ".tar"):
            files = _files(folder, ending)
            if paths := [f for f in files if own or is_of_split(f.stem, spellings)]:
                yield paths


def is_of_split(stem: str, spellings: Sequence[str]) -> bool:
    """True for the name of a file, without its suffix, that has one of a split's names between its separators."""
    return not set(re.split(r"[-_.]", stem)).isdisjoint(spellings)


def _files(folder: Path, ending: str) -> list[Path]:
    try:
        return sorted(folder / name for name in os.listdir(folder) if name.endswith(ending) and name[0] != ".")
    except OSError:
        return []


def _check_complete(files: Sequence[Path]) -> None:
    """Raise HarnessError for missing files: names such as 00003-of-00257 give their number."""
    counts = {int(match[1]) for file in files if (match := re.search(r"-of-(\d+)", file.stem))}
    if counts and counts != {len(files)}:
        raise HarnessError(
            f"{files[0].parent} has {len(files)} files like {files[0].name}, of {max(counts)}. Fetch the others, too."
        )


def listing(root: Path, most: int = 5) -> str:
    """Content of a folder, for messages: the first names, or the reason why it cannot be read."""
    try:
        names = sorted(os.listdir(root))
    except OSError as error:
        return error.strerror or str(error)
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "") or "nothing"
