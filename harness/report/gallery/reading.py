"""Read galleries, which are untrusted: every field is checked, and every picture is decoded before it is shown."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from harness.base.errors import HarnessError
from harness.base.files import read_limited
from harness.base.parsing import parse_json
from harness.base.validation import Reader, Rule, at_least, shown, written
from harness.report.gallery.contents import FILE, FOLDER, LOCAL, SCHEMA, Gallery, Shot, file_of, pixels_sha256

LARGEST, LARGEST_PICTURE, WIDEST = 2**22, 2**17, 512
"""Bytes of a gallery's JSON and of one picture, and its pixels a side, at most."""

MOST_BYTES = 2**21
"""Bytes of all pictures of a gallery at most: they become part of one page."""

SHA256 = written("[0-9a-f]{64}", "a SHA-256 (64 hexadecimal digits)")
_SIDE = Rule(f"from 1 to {WIDEST}", lambda side: 1 <= side <= WIDEST)
_READER = Reader(
    {
        "Gallery.schema": Rule(f"{SCHEMA}, the form that this version reads", lambda schema: schema == SCHEMA),
        "Shot.pixels": SHA256,
        "Shot.width": _SIDE,
        "Shot.height": _SIDE,
        "NamedWeights.sha256": SHA256,
        "Specimen.label": at_least(-1),
        "Specimen.shots": Rule("a list of one or more", bool),
        "Hard.label": at_least(-1),
    }
)


@dataclass(frozen=True)
class ShownGallery:
    """A gallery and its pictures.

    name: of its folder. pictures: by pixel hash, the bytes of WebP files. left_out: sentences on pictures that are not
    shown.
    """

    name: str
    gallery: Gallery
    pictures: Mapping[str, bytes] = field(default_factory=dict)
    left_out: tuple[str, ...] = ()


def galleries(root: Path, local: bool = True) -> Iterator[ShownGallery | HarnessError]:
    """The galleries of a results folder by name; for each that cannot be read, the reason.

    local: the user's own, below ``local/``, come first, with names such as ``local/digits-c``; otherwise none of them.
    """
    own = sorted((root / LOCAL).glob(f"*/{FILE}")) if local else []
    for file in [*own, *sorted((root / FOLDER).glob(f"*/{FILE}"))]:
        try:
            shown = shown_gallery(file.parent)
            yield replace(shown, name=f"local/{shown.name}") if file in own else shown
        except HarnessError as reason:
            yield reason


def shown_gallery(folder: Path) -> ShownGallery:
    """The gallery of a folder with those pictures that are what the gallery says; HarnessError for no gallery."""
    gallery = read(folder / FILE)
    pictures: dict[str, bytes] = {}
    left_out: dict[str, None] = {}
    for shot in gallery.shots():
        if shot.pixels in pictures:
            continue
        try:
            content = picture(folder, shot)
            if sum(map(len, pictures.values())) + len(content) > MOST_BYTES:
                raise HarnessError(f"{folder}: it has pictures of more than {MOST_BYTES:,} bytes. Make a smaller one.")
            pictures[shot.pixels] = content
        except HarnessError as reason:
            left_out[str(reason)] = None
    return ShownGallery(folder.name, gallery, pictures, tuple(left_out))


def read(file: Path) -> Gallery:
    """The gallery of a JSON file; raises HarnessError for a file that is none."""
    try:
        gallery: Gallery = _READER(Gallery, parse_json(read_limited(file, LARGEST)))
        _check(gallery)
    except OSError as error:
        raise HarnessError(f"{file}: {error.strerror}.") from error
    except ValueError as error:
        raise HarnessError(f"{file} is not a gallery ({error}). Make it again: harness gallery.") from error
    return gallery


def _check(gallery: Gallery) -> None:
    """Raise ValueError where the parts of a gallery contradict each other."""
    hard = gallery.hardest
    answers = [(shot.says, len(gallery.models)) for s in gallery.specimens for shot in s.shots]
    answers += [(says, len(gallery.models)) for s in gallery.specimens for says in s.methods.values()]
    answers += [(image.shot.says, len(hard.models)) for image in hard.images] if hard else []
    for says, models in answers:
        if len(says) != models:
            raise ValueError(f"{len(says)} answers of {models} classifiers")
        for label, probability in says:
            if label < 0 or not 0 <= probability <= 1:
                raise ValueError(f"an answer of class {shown(label)} with probability {shown(probability)}")
    for specimen in gallery.specimens:
        if set(specimen.methods) != set(gallery.methods):
            raise ValueError("an image with other methods than the gallery's")


def picture(folder: Path, shot: Shot) -> bytes:
    """The bytes of a view's WebP file; HarnessError unless it decodes to exactly the pixels that the view names."""
    file = folder / file_of(shot.pixels)
    remedy = "Make it again: harness gallery."
    try:
        content = read_limited(file, LARGEST_PICTURE)
        with Image.open(io.BytesIO(content), formats=["WEBP"]) as opened:
            # From the header, so that no picture of a billion pixels is decoded.
            if opened.size != (shot.width, shot.height) or getattr(opened, "n_frames", 1) != 1:
                raise HarnessError(f"{file} is not of {shot.width} x {shot.height} pixels. {remedy}")
            actual = pixels_sha256(opened)
    except (OSError, ValueError, UnidentifiedImageError, Image.DecompressionBombError) as error:
        detail = getattr(error, "strerror", None) or re.sub(r"<[^>]*>", "the file", str(error))
        raise HarnessError(f"{file} is no WebP picture ({detail}). {remedy}") from error
    if actual != shot.pixels:
        raise HarnessError(f"{file} has other pixels than the gallery names. {remedy}")
    return content
