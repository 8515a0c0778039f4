"""Contents of a gallery: a JSON file that names pictures by the hash of their pixels, and WebP files beside it.

results/gallery/digits-c/gallery.json
results/gallery/digits-c/0f3a5c7e9b1d2f40.webp      one per different picture
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from PIL import Image

SCHEMA = 1

FOLDER, FILE = "gallery", "gallery.json"
"""Folder of the shipped galleries within a results folder, and the file that describes one of them."""

LOCAL = f"local/{FOLDER}"
"""Folder of the user's own galleries within a results folder: no shipped one is replaced."""

CLEAN = "clean"
"""Name of the images before any corruption."""

ORIGINAL = "as it is"
"""Name of the view that a classifier alone sees."""

Says = tuple[int, float]
"""A classifier's class, and its probability."""


@dataclass(frozen=True)
class Shot:
    """One view of an image, and what the classifiers say of it.

    view: ``as it is``, ``t = 50`` for the one-step denoising from time 50, or the name of a method that adapts images.
    pixels: see `pixels_sha256`. width, height: of the picture, which is smaller than a large image.
    says: one per classifier, in the order of the gallery.
    """

    view: str
    pixels: str
    width: int
    height: int
    says: Sequence[Says]


@dataclass(frozen=True)
class Specimen:
    """One test image under one condition.

    label: its class, -1 for none. methods: by test-time method, what it makes each classifier say.
    """

    id: str
    label: int
    condition: str
    shots: Sequence[Shot]
    methods: Mapping[str, Sequence[Says]]


@dataclass(frozen=True)
class Hard:
    """A test image that most classifiers get wrong.

    confidence: mean over all classifiers of the probability of a wrong answer, 0 for a right one. wrong: their number.
    shot: its only view.
    """

    id: str
    label: int
    condition: str
    confidence: float
    wrong: int
    shot: Shot


@dataclass(frozen=True)
class Hardest:
    """The test images that most classifiers get wrong with the greatest confidence, from records of one method.

    models: of the records. records: keys of these.
    """

    method: str
    models: Sequence[str]
    records: Sequence[str]
    images: Sequence[Hard]


@dataclass(frozen=True)
class NamedWeights:
    """Name of a network, and SHA-256 of its weights."""

    name: str
    sha256: str


@dataclass(frozen=True)
class Gallery:
    """A gallery.

    complete: false while images are missing. key: hash of everything that decides its contents. command: that makes it.
    classes: names by label; none where they have no names. hardest: None without records. spec: see `RunSpec`.
    """

    schema: int
    complete: bool
    key: str
    command: str
    suite: str
    suite_version: int
    dataset: str
    facts: Mapping[str, str]
    data_sha256: str
    classes: Sequence[str]
    models: Sequence[NamedWeights]
    methods: Sequence[str]
    denoiser: NamedWeights | None
    spec: Mapping[str, Any]
    environment: Mapping[str, str]
    specimens: Sequence[Specimen]
    hardest: Hardest | None = None

    def class_name(self, label: int) -> str:
        """The name of a class, its number where it has none, or ``none`` for -1."""
        if label < 0:
            return "none"
        return self.classes[label] if label < len(self.classes) else str(label)

    def shots(self) -> list[Shot]:
        """All views of all images."""
        hard = [image.shot for image in self.hardest.images] if self.hardest else []
        return [shot for specimen in self.specimens for shot in specimen.shots] + hard


def file_of(pixels: str) -> str:
    """Name of the file of a picture."""
    return f"{pixels[:16]}.webp"


def pixels_sha256(picture: Image.Image) -> str:
    """SHA-256 of a picture's size and RGB pixels: encoders differ in bytes, a picture does not."""
    picture = picture.convert("RGB")
    return hashlib.sha256(f"{picture.width}x{picture.height}\n".encode() + picture.tobytes()).hexdigest()
