"""Files below a data folder: images, files known to be something else, and unknown ones, which must be reported."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from harness.types import HarnessError

SUFFIXES = (
    ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".ppm", ".pgm", ".pbm", ".pnm", ".tif", ".tiff",
)  # fmt: skip
"""Suffixes of images that are read, in small letters: the formats of `harness.data.decoding`."""

PICTURES = (
    ".gif", ".avif", ".heic", ".heif", ".jp2", ".j2k", ".jpx", ".jxl", ".jxr", ".dng", ".cr2", ".nef", ".arw", ".raw",
    ".tga", ".psd", ".svg", ".eps", ".ico", ".dib", ".pcx", ".exr", ".hdr", ".apng", ".jif", ".pfm", ".qoi",
)  # fmt: skip
"""Suffixes of images that are not read."""

OTHERS = (
    ".txt", ".md", ".rst", ".tex", ".bib", ".htm", ".html", ".json", ".jsonl", ".ndjson", ".csv", ".tsv", ".yaml",
    ".yml", ".toml", ".ini", ".cfg", ".conf", ".xml", ".xmp", ".log", ".lock", ".md5", ".sha1", ".sha256", ".sha512",
    ".crc32", ".sum", ".sig", ".asc", ".py", ".sh", ".m", ".mat", ".ipynb", ".url", ".lnk",
)  # fmt: skip
"""Suffixes of files known to be no images."""

NAMES = (
    "thumbs.db", "ehthumbs.db", "ehthumbs_vista.db", "desktop.ini", "icon\r", "readme", "license", "licence", "copying",
    "notice", "authors", "changelog", "version", "citation", "makefile", "checksums", "md5sums", "sha1sums",
    "sha256sums", "sha512sums", "done", "_success",
)  # fmt: skip
"""Names, in small letters, of files known to be no images; hidden files are no images, either."""

NAMED = 3
"""Files that a message names at most."""


def is_image(name: str) -> bool:
    """True for the name of an image file that is read."""
    return name.lower().endswith(SUFFIXES) and not is_other(name)


def is_other(name: str) -> bool:
    """True for the name of a file known to be no image."""
    small = name.lower()
    return small.startswith(".") or small in NAMES or small.endswith(OTHERS)


def is_picture(name: str) -> bool:
    """True for the name of an image, whether its format is read or not."""
    return name.lower().endswith((*SUFFIXES, *PICTURES)) and not is_other(name)


def is_other_folder(name: str) -> bool:
    """True for the name of a folder known to hold no images: hidden, or macOS's in archives."""
    return name.startswith(".") or name == "__MACOSX"


def images_and_unknown(folder: Path, without: Collection[str] = ()) -> tuple[list[str], list[str]]:
    """Names of the images in a folder, and of files neither read nor known to be no images; both sorted.

    Subfolders are searched for the latter, except those in `without`. Raises HarnessError for a folder that cannot be
    listed.
    """
    try:
        names = sorted(os.listdir(folder))
    except OSError as error:
        raise HarnessError(f"{folder} cannot be listed ({error.strerror}). Check its permissions.") from error
    images = [name for name in names if is_image(name)]
    others = [name for name in names if not is_image(name) and name not in without]
    return images, [unknown for name in others for unknown in _unknown(folder, name)]


def images(folder: Path) -> list[str]:
    """Names of the image files in a folder, sorted; raises HarnessError for a folder that cannot be listed."""
    return images_and_unknown(folder)[0]


def _unknown(folder: Path, name: str) -> Sequence[str]:
    """A file not known to be no image, or all such files below a folder; links to folders are not followed."""
    path = folder / name
    if not path.is_dir():
        return [] if is_other(name) else [name]
    if is_other_folder(name):
        return []
    if path.is_symlink():
        return [f"{name} (a link to a folder)"]
    unknown: list[str] = []
    for place, folders, files in os.walk(path):
        folders[:] = [below for below in folders if not is_other_folder(below)]
        unknown += (os.path.relpath(os.path.join(place, file), folder) for file in files if not is_other(file))
    return sorted(unknown)


UNREAD = "neither read nor known to be no image"
"""Words by which the note on files that are not read is recognised."""


def unread_note(data: Any) -> str:
    """Sentence on the files of a data set that are not read; "" if there are none."""
    unread: Sequence[str] = getattr(data, "unread", ())
    if not unread:
        return ""
    more = f" and {len(unread) - NAMED:,} more" if len(unread) > NAMED else ""
    thing = "thing that is" if len(unread) == 1 else "things that are"
    return f"{len(unread):,} {thing} {UNREAD}: {', '.join(unread[:NAMED])}{more}."


def check_all_read(data: Any) -> None:
    """Raise HarnessError for a data set with files that are not read."""
    if note := unread_note(data):
        root = getattr(getattr(data, "source", None), "root", None)
        raise HarnessError(
            f"{root or data.name}: {note} Images right below their class folder are read, as {', '.join(SUFFIXES)}: "
            "convert, move or remove the others, or leave them out with --on-bad-image skip."
        )
