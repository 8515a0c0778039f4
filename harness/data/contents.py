"""What lies below a data folder: images, files that are known to be none, and all others, which must be named."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from harness.types import HarnessError

SUFFIXES = (
    ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".ppm", ".pgm", ".pbm", ".pnm", ".tif", ".tiff",
)  # fmt: skip
"""What the name of an image file ends with, in small letters: the formats of `harness.data.decoding`."""

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
"""Suffixes of files that are known to be no images."""

NAMES = (
    "thumbs.db", "ehthumbs.db", "ehthumbs_vista.db", "desktop.ini", "icon\r", "readme", "license", "licence", "copying",
    "notice", "authors", "changelog", "version", "citation", "makefile", "checksums", "md5sums", "sha1sums",
    "sha256sums", "sha512sums", "done", "_success",
)  # fmt: skip
"""Names, in small letters, of files that are known to be no images; hidden ones are such, too."""

NAMED = 3
"""Things that a message names."""


def is_image(name: str) -> bool:
    """Whether a file of this name is read."""
    return name.lower().endswith(SUFFIXES) and not is_other(name)


def is_other(name: str) -> bool:
    """Whether a file of this name is known to be no image."""
    small = name.lower()
    return small.startswith(".") or small in NAMES or small.endswith(OTHERS)


def is_picture(name: str) -> bool:
    """Whether the name is that of an image, read or not."""
    return name.lower().endswith((*SUFFIXES, *PICTURES)) and not is_other(name)


def is_other_folder(name: str) -> bool:
    """Whether a folder of this name is known to hold no images: hidden ones, and macOS's in archives."""
    return name.startswith(".") or name == "__MACOSX"


def sorted_out(folder: Path, without: Collection[str] = ()) -> tuple[list[str], list[str]]:
    """Names of the images in a folder, and of what is neither read nor known to be no image; both sorted.

    Folders stand for what lies in them; those in `without` are somebody else's. Raises HarnessError for a folder that
    cannot be listed.
    """
    try:
        names = sorted(os.listdir(folder))
    except OSError as error:
        raise HarnessError(f"{folder} cannot be listed ({error.strerror}). Check its permissions.") from error
    images = [name for name in names if is_image(name)]
    rest = [name for name in names if not is_image(name) and name not in without]
    return images, [found for name in rest for found in _strange(folder, name)]


def images(folder: Path) -> list[str]:
    """Names of the image files in a folder, sorted; raises HarnessError where it cannot be listed."""
    return sorted_out(folder)[0]


def _strange(folder: Path, name: str) -> Sequence[str]:
    """A file, or the images and strange files below a folder; links to folders are not followed."""
    path = folder / name
    if not path.is_dir():
        return [] if is_other(name) else [name]
    if is_other_folder(name):
        return []
    if path.is_symlink():
        return [f"{name} (a link to a folder)"]
    found: list[str] = []
    for place, folders, files in os.walk(path):
        folders[:] = [below for below in folders if not is_other_folder(below)]
        found += (os.path.relpath(os.path.join(place, file), folder) for file in files if not is_other(file))
    return sorted(found)


def unread_note(data: Any) -> str:
    """What of a data set's files is not read, in a sentence; nothing where all is."""
    unread: Sequence[str] = getattr(data, "unread", ())
    if not unread:
        return ""
    more = f" and {len(unread) - NAMED:,} more" if len(unread) > NAMED else ""
    thing = "thing that is" if len(unread) == 1 else "things that are"
    return f"{len(unread):,} {thing} neither read nor known to be no image: {', '.join(unread[:NAMED])}{more}."


def check_counted(data: Any) -> None:
    """Raise HarnessError for a data set whose folder holds what is not read."""
    if said := unread_note(data):
        source = getattr(getattr(data, "source", None), "root", None)
        raise HarnessError(
            f"{source or data.name}: {said} Images right below their class folder are read, as {', '.join(SUFFIXES)}: "
            "convert, move or remove the others, or leave them out with --on-bad-image skip."
        )
