"""Looking at every image once: what `harness data check` finds out before a long run does."""

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
    """What was found in one split.

    per_class: (K,) images of every class. sizes: (n, 2) widths and heights of the readable images.
    bad: what is wrong with the others.
    """

    per_class: np.ndarray
    sizes: np.ndarray
    bad: Sequence[str]

    def spread(self, axis: int) -> tuple[int, ...]:
        """Least, median and greatest width (axis 0) or height (1); nothing where nothing could be read."""
        ordered = np.sort(self.sizes[:, axis])
        return tuple(int(ordered[place]) for place in (0, len(ordered) // 2, -1)) if len(ordered) else ()


def check(
    data: Pictures, *, quick: bool = False, workers: int = 0, report: Callable[[int], None] = lambda done: None
) -> Checked:
    """Decode every image, or read only its header; `report` is told how many are done."""
    sizes: list[tuple[int, int]] = []
    bad: list[str] = []
    places = range(len(data.ids))
    pieces = (places[start : start + PIECE] for start in places[::PIECE])
    for found in ordered(lambda piece: list(_look(data, piece, quick)), pieces, workers):
        sizes += (size for size in found if not isinstance(size, str))
        bad += (what for what in found if isinstance(what, str))
        report(len(sizes) + len(bad))
    labels = data.labels.numpy()
    per_class = np.bincount(labels[labels >= 0], minlength=data.num_classes)
    return Checked(per_class, np.array(sizes, dtype=np.int64).reshape(-1, 2), bad)


def _look(data: Pictures, places: Sequence[int], quick: bool) -> Iterator[tuple[int, int] | str]:
    """Width and height of each image, or what is wrong with it."""
    for index in places:
        try:
            with one_at_a_time():
                size = data.size(index) if quick and isinstance(data, StoredPictures) else data.picture(index).size
            check_size(size, data.geometry, data.ids[index])
            yield size
        except BadImage as error:
            yield str(error)
