"""Images without classes: all below a folder, whatever its subfolders mean."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import torch

from harness.base.errors import missing
from harness.data.content_ids import by_content
from harness.data.folder_contents import SUFFIXES, is_image, is_other, is_other_folder
from harness.data.layouts.folders import Folders, check_names
from harness.data.pictures import StoredPictures
from harness.types import Geometry, HarnessError


def open_tree(root: Path) -> Folders:
    """All images below a folder, flat or nested, sorted by path; links to folders are not followed.

    Raises HarnessError for a folder that is missing or holds no images.
    """
    if not root.is_dir():
        raise missing(root, f"No folder of images at {root}. Check the path.")
    files: list[str] = []
    unread: list[str] = []
    for place, folders, names in os.walk(root):
        below = [name for name in folders if not is_other_folder(name)]
        links = [name for name in below if os.path.islink(os.path.join(place, name))]
        folders[:] = sorted(set(below) - set(links))
        paths = {name: os.path.relpath(os.path.join(place, name), root) for name in (*names, *links)}
        files += (paths[name] for name in names if is_image(name))
        unread += (paths[name] for name in names if not is_image(name) and not is_other(name))
        unread += (f"{paths[name]} (a link to a folder)" for name in links)
    if not files:
        raise HarnessError(f"No images in {root} or below ({', '.join(SUFFIXES)}). Check the path.")
    files = [file.replace(os.sep, "/") for file in sorted(files)]
    check_names(root, files)
    targets = np.zeros(len(files), dtype=np.int64)
    return Folders(root, [root.name], tuple(files), targets, files, unread=tuple(sorted(unread)))


def open_outside(root: Path, geometry: Geometry, classes: tuple[str, ...], name: str) -> StoredPictures:
    """All images below a folder as images of none of these classes: labels -1, ids by content.

    geometry: of the images in distribution. Images that it takes as they are stored are brought to its size.
    """
    if geometry.resize is None:
        interpolation = geometry.interpolation if geometry.interpolation != "none" else "bilinear"
        geometry = Geometry(geometry.crop, geometry.crop, interpolation)
    source = by_content(open_tree(root))
    labels = torch.full((len(source.ids),), -1, dtype=torch.int64)
    return StoredPictures(name, source, labels, classes, geometry)
