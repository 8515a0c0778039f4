"""Checks of a data set: reads every image once, so that faults show before a long run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from harness.data.decoding import one_at_a_time
from harness.data.pictures import StoredPictures, check_size
from harness.data.readahead import ordered
from harness.types import BadImage, Pictures

PIECE = 32
"""Images that a thread takes at a time."""


@dataclass(frozen=True)
class Checked:
    """Findings in one split.

    per_class: (K,) number of images of each class. sizes: (n, 2) widths and heights of the readable images, in pixels.
    bad: for each unreadable image, a sentence with its place and its fault.
    """

    per_class: np.ndarray
    sizes: np.ndarray
    bad: Sequence[str]

    def spread(self, axis: int) -> tuple[int, ...]:
        """Least, median and greatest width (axis 0) or height (1); empty if no image is readable."""
        sides = np.sort(self.sizes[:, axis])
        return tuple(int(sides[place]) for place in (0, len(sides) // 2, -1)) if len(sides) else ()


def check(
    data: Pictures, *, quick: bool = False, workers: int = 0, report: Callable[[int], None] = lambda done: None
) -> Checked:
    """Decode every image and compare its size with the data set's geometry.

    quick: read headers only. workers: threads, 0 for none. report: called with the number of images done.
    """
    sizes: list[tuple[int, int]] = []
    bad: list[str] = []
    places = range(len(data.ids))
    pieces = (places[start : start + PIECE] for start in places[::PIECE])
    for outcomes in ordered(lambda piece: list(_sizes_or_faults(data, piece, quick)), pieces, workers):
        sizes += (outcome for outcome in outcomes if not isinstance(outcome, str))
        bad += (outcome for outcome in outcomes if isinstance(outcome, str))
        report(len(sizes) + len(bad))
    labels = data.labels.numpy()
    per_class = np.bincount(labels[labels >= 0], minlength=data.num_classes)
    return Checked(per_class, np.array(sizes, dtype=np.int64).reshape(-1, 2), bad)


def _sizes_or_faults(data: Pictures, places: Sequence[int], quick: bool) -> Iterator[tuple[int, int] | str]:
    """Width and height of each image in pixels, or its fault in a sentence."""
    for index in places:
        try:
            with one_at_a_time():
                size = data.size(index) if quick and isinstance(data, StoredPictures) else data.picture(index).size
            check_size(size, data.geometry, data.ids[index])
            yield size
        except BadImage as error:
            yield str(error)
