"""Grids of pictures with headings, at whole numbers of printed dots per pixel."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from harness.report.figures.style import COLUMN, SETTINGS, SMALL, wrapped

DOTS = 300
"""Printed dots per inch, as of the PNG: each pixel of a small picture is a square of the same number of dots."""

GAP = 4
"""Dots between two pictures."""

LINE = 1.2
"""Height of a line of text in units of its size."""


def picture_grid(
    pictures: np.ndarray,
    above: Sequence[str],
    beside: Sequence[str] = (),
    below: Sequence[Sequence[str]] = (),
    title: str = "",
    width: float = COLUMN,
) -> Any:
    """A figure of R rows and C columns of pictures. matplotlib is imported when it is called.

    pictures: (R, C, 3, H, W), clipped to [0, 1]; a picture of NaN leaves its place blank. Small ones are enlarged by a
        whole number, nearest neighbour; ones that are too large are averaged down.
    above: headings of the columns (C). beside: of the rows (R). Both may hold formulas between dollar signs.
    below: lines under each picture (R, C), in text that is never a formula. width: of the figure in inches.
    """
    from matplotlib.figure import Figure

    rows, columns = pictures.shape[:2]
    left = _width(beside, SMALL) + (0.05 if beside else 0.0)
    cells = _fitted(_displayed(pictures), int((width - left) * DOTS) // columns - GAP)
    tall, wide = cells.shape[2:4]
    texts = [[wrapped(text) for text in row] for row in below]
    under = _height([text for row in texts for text in row], SMALL)
    top = _height([title], SETTINGS["figure.titlesize"]) + _height(above, SMALL) + 2 * GAP / DOTS
    step = tall + GAP + round(under * DOTS)
    montage = np.ones((rows * step, columns * (wide + GAP), 3))
    for (row, column), cell in ((place, cells[place]) for place in np.ndindex(rows, columns)):
        montage[row * step : row * step + tall, column * (wide + GAP) : column * (wide + GAP) + wide] = cell
    high = top + len(montage) / DOTS
    figure = Figure(figsize=(width, high), dpi=DOTS)
    free = (width - left - montage.shape[1] / DOTS) / 2
    axes = figure.add_axes(((left + free) / width, 0, montage.shape[1] / DOTS / width, len(montage) / DOTS / high))
    axes.imshow(montage, interpolation="none", aspect="auto")
    axes.set_axis_off()
    _write(axes, above, beside, texts, (tall, wide, step))
    if title:
        figure.text(0.5, 1 - 2 * GAP / DOTS / high, title, ha="center", va="top")
    return figure


def signed(values: np.ndarray, percentile: float = 100) -> tuple[np.ndarray, np.ndarray]:
    """Pictures (N, 3, H, W) of signed values, zero in mid grey, and the magnitudes (N,) that are black and white.

    percentile: of each picture's magnitudes, in (0, 100]; larger magnitudes are clipped.
    """
    limits = np.percentile(np.abs(values), percentile, axis=(1, 2, 3))
    visible = np.maximum(limits, np.finfo(np.float32).tiny)[:, None, None, None]
    return (0.5 + values / (2 * visible)).clip(0, 1), limits


def _write(
    axes: Any, above: Sequence[str], beside: Sequence[str], below: Sequence[Sequence[str]], sizes: tuple[int, int, int]
) -> None:
    """Headings and lines around the pictures, whose height, width and distance from row to row are in dots."""
    tall, wide, step = sizes
    middles = [column * (wide + GAP) + wide / 2 for column in range(len(above))]
    style = {"fontsize": SMALL, "linespacing": 1.1}
    for x, text in zip(middles, above, strict=True):
        axes.text(x, -GAP, text, ha="center", va="bottom", parse_math=True, **style)
    for row, text in enumerate(beside):
        axes.text(-2 * GAP, row * step + tall / 2, text, ha="right", va="center", parse_math=True, **style)
    for row, texts in enumerate(below):
        for x, text in zip(middles, texts, strict=True):
            axes.text(x, row * step + tall + GAP, text, ha="center", va="top", **style)


def _displayed(pictures: np.ndarray) -> np.ndarray:
    """Pictures as matplotlib takes them, (..., H, W, 3); white where they are NaN."""
    return np.moveaxis(np.nan_to_num(pictures, nan=1.0), -3, -1).clip(0, 1)


def _fitted(pictures: np.ndarray, dots: int) -> np.ndarray:
    """Pictures at most so many dots wide, and as wide as a whole enlargement can make them."""
    from PIL import Image

    height, width = pictures.shape[2:4]
    if (scale := dots // width) >= 1:
        return pictures.repeat(scale, 2).repeat(scale, 3)
    size = dots, round(dots * height / width)
    whole = (255 * pictures).round().astype(np.uint8).reshape(-1, height, width, 3)
    small = np.stack([np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.BOX)) for picture in whole])
    return small.reshape(*pictures.shape[:2], *small.shape[1:]) / 255


def _height(texts: Sequence[str], size: float) -> float:
    """Height in inches of the tallest of some texts; 0 if there is none."""
    lines = max((text.count("\n") + 1 for text in texts if text), default=0)
    return lines * LINE * size / 72


def _width(texts: Sequence[str], size: float) -> float:
    """Width in inches of the widest line of some texts; of a formula without its markup."""
    from matplotlib.textpath import TextPath

    lines = [re.sub(r"\\[a-z]+|[${}_^]", "", line) for text in texts for line in text.split("\n") if line]
    return max((TextPath((0, 0), line, size=size).get_extents().width for line in lines), default=0.0) / 72
