"""Results of a generation: samples in OpenAI's layout, a grid, single images and a card."""

from __future__ import annotations

import textwrap
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from harness.base.files import writing
from harness.data.layouts.npz import NpzRows, open_npz
from harness.generation.spec import sample_id

SAMPLES, GRID, CARD, IMAGES = "samples.npz", "grid.png", "card.json", "images"
"""Names in the folder of a generation."""

ROWS, COLUMNS = 20, 10
"""Classes and samples of a class in the grid at most."""

GAP, SHOWN_SIDE = 2, 96
"""Pixels between images of the grid; smaller images are magnified by a whole factor to about this side."""

FONT_SIZE, LINE = 16, 22
"""Size of the names of classes beside the grid, and characters of a line of them at most."""

PIECE = 2**26
"""Bytes of samples that are read at once: 50,000 of 256 x 256 pixels take 10 GB."""

UNGUIDED = "unguided"
"""Folder of images that belong to no class."""


def write_samples(file: Path, pieces: Iterable[np.ndarray], labels: np.ndarray, shape: Sequence[int]) -> None:
    """samples.npz as guided-diffusion writes it: arr_0 (N, H, W, 3) uint8 and arr_1 (N,) int64.

    The bytes are a function of the numbers alone. pieces: of arr_0, in order. shape: (3, H, W) of a sample.
    """
    total = (len(labels), *shape[1:], shape[0])
    with writing(file) as partial, zipfile.ZipFile(partial, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
        with archive.open(zipfile.ZipInfo("arr_0.npy"), "w", force_zip64=True) as member:
            np.lib.format.write_array_header_1_0(member, {"descr": "|u1", "fortran_order": False, "shape": total})
            for piece in pieces:
                member.write(piece.tobytes())
        with archive.open(zipfile.ZipInfo("arr_1.npy"), "w", force_zip64=True) as member:
            np.lib.format.write_array(member, labels.astype("<i8"), allow_pickle=False)


def read_samples(file: Path) -> tuple[np.ndarray, np.ndarray]:
    """Pixels (N, H, W, 3) uint8 and labels (N,) int64 of a file that `write_samples` wrote."""
    with np.load(file, allow_pickle=False) as arrays:
        return arrays["arr_0"], arrays["arr_1"]


def read_pieces(file: Path) -> Iterator[np.ndarray]:
    """The same pixels in order, in pieces (n, H, W, 3) of `PIECE` bytes at most, or of one sample."""
    archive = open_npz(file)
    array, rows = archive.arrays["arr_0"], NpzRows(archive, "arr_0")
    step = max(1, PIECE // array.row)
    for start in range(0, array.shape[0], step):
        yield rows(start, min(start + step, array.shape[0]))


def grid_rows(labels: np.ndarray) -> list[list[int]]:
    """Numbers of the samples in the grid, a row per class: the first ones of the first classes."""
    return [np.flatnonzero(labels == label)[:COLUMNS].tolist() for label in np.unique(labels)[:ROWS]]


def write_grid(file: Path, rows: Sequence[Sequence[np.ndarray]], names: Sequence[str] = ()) -> None:
    """grid.png: rows of images (H, W, 3) uint8, magnified by nearest neighbours. names: of the rows, beside them."""
    height = len(rows[0][0])
    factor = max(1, round(SHOWN_SIDE / height))
    side = height * factor + GAP
    canvas = np.full((GAP + len(rows) * side, GAP + max(map(len, rows)) * side, 3), 255, dtype=np.uint8)
    for row, images in enumerate(rows):
        for column, image in enumerate(images):
            large = image.repeat(factor, 0).repeat(factor, 1)
            top, left = GAP + row * side, GAP + column * side
            canvas[top : top + len(large), left : left + len(large)] = large
    labels = _labels(names, len(canvas), side)
    with writing(file) as partial:
        Image.fromarray(np.concatenate([labels, canvas], 1)).save(partial, format="PNG")


def _labels(names: Sequence[str], height: int, side: int) -> np.ndarray:
    """A margin (height, W, 3) uint8 with a name in the middle of each row of the grid; W is 0 without names."""
    font = ImageFont.load_default(FONT_SIZE)
    texts = ["\n".join(textwrap.wrap(name, LINE)) for name in names]
    ruler = ImageDraw.Draw(Image.new("RGB", (1, 1)))
    width = max((ruler.multiline_textbbox((0, 0), text, font)[2] for text in texts), default=-2 * GAP)
    margin = Image.new("RGB", (int(width) + 2 * GAP, height), "white")
    for row, text in enumerate(texts):
        middle = GAP + row * side + side / 2
        ImageDraw.Draw(margin).multiline_text((margin.width - GAP, middle), text, "black", font, "rm", align="right")
    return np.asarray(margin)


def write_images(folder: Path, pieces: Iterable[np.ndarray], labels: np.ndarray, folders: Sequence[str]) -> None:
    """A PNG per sample, CLASS/ID.png; those that are there stay. pieces: as of `write_samples`. folders: by label."""
    samples = (sample for piece in pieces for sample in piece)
    for name, sample in zip(image_files(labels, folders), samples, strict=True):
        if not (folder / name).exists():
            with writing(folder / name) as partial:
                Image.fromarray(sample).save(partial, format="PNG")


def image_files(labels: np.ndarray, folders: Sequence[str]) -> Iterator[str]:
    """The name of each sample's image, below the folder of images."""
    for number, label in enumerate(labels.tolist()):
        yield f"{folders[label]}/{sample_id(number).replace('/', '-')}.png"
