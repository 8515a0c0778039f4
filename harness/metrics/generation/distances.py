"""Squared distances between the rows of two sets, in pieces, and comparisons of them that ties cannot upset.

Matrix products give all distances quickly, but a copy of an image then is a rounding nearer or farther than the image
itself, by the size of the piece. Every comparison within the reach of rounding is therefore decided by the distance
from differences, which is the same for the same two rows wherever they stand.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.metrics.intervals import Bools, Floats

PIECE = 512
"""Rows of a distance matrix that are computed at once."""

SPARE = 4
"""Further neighbours that are looked at, so that rounding does not choose among the nearest."""

PAIRS = 8_192
"""Doubtful pairs that are computed from differences at once."""

Indices = NDArray[np.integer[Any]]


@dataclass(frozen=True, eq=False)
class NearestOthers:
    """Neighbours of every point within its own set; the point itself is none, a copy of it is one.

    squared: (N, k) squared distances to the nearest k others, increasing. first: (N,) index of the nearest.
    """

    squared: Floats
    first: Indices


@dataclass(frozen=True, eq=False)
class BallRule:
    """Balls around the rows of one side.

    squared: squared radii. around_rows: the balls are around the rows x, else around the columns y. closed: a point at
    the very radius is inside.
    """

    squared: Floats
    around_rows: bool
    closed: bool


@dataclass(frozen=True, eq=False)
class InsideCounts:
    """Pairs (x, y) whose distance is within the ball.

    rows: (M,) pairs of each x. columns: (N,) pairs of each y. last: (N,) index of the last x in a pair with y, else 0.
    """

    rows: Indices
    columns: Indices
    last: Indices

    @property
    def alone(self) -> Indices:
        """For each x, the y that are in no pair but theirs: (M,)."""
        return np.bincount(self.last[self.columns == 1], minlength=len(self.rows))


def nearest_others(x: Floats, k: int, piece: int = PIECE) -> NearestOthers:
    """Neighbours within a set. x: (N, D) float64, N > k. piece: rows at once, which changes nothing."""
    # Products of vectors far from 0 would lose the digits in which their distances differ.
    centred = x - x.mean(axis=0)
    n, norms = len(x), _norms(centred)
    candidates = min(k + SPARE, n - 1)
    squared, first = np.empty((n, k)), np.empty(n, dtype=np.int64)
    for start in range(0, n, piece):
        rows = np.arange(start, min(start + piece, n))
        near = norms[rows, None] + norms - 2 * (centred[rows] @ centred.T)
        near[rows - start, rows] = np.inf
        places = np.argpartition(near, candidates - 1, axis=1)[:, :candidates]
        places.sort(axis=1)
        exact = from_differences(x, x, np.repeat(rows, candidates), places.ravel()).reshape(places.shape)
        order = np.argsort(exact, axis=1, kind="stable")
        squared[rows] = np.take_along_axis(exact, order[:, :k], axis=1)
        first[rows] = np.take_along_axis(places, order[:, :1], axis=1)[:, 0]
    return NearestOthers(squared, first)


def count_inside(x: Floats, y: Floats, rules: Sequence[BallRule], piece: int = PIECE) -> list[InsideCounts]:
    """Count the pairs within the balls of every rule, all in one pass through the distances.

    x: (M, D), y: (N, D), float64. piece: rows at once, which changes nothing.
    """
    x_norms, y_norms = _norms(x), _norms(y)
    counts = [InsideCounts(*(np.zeros(size, dtype=np.int64) for size in (len(x), len(y), len(y)))) for _ in rules]
    # Twice the bound of Higham 2002, section 3.1, for both ways of computing together.
    precision = 2 * (x.shape[1] + 4) * np.finfo(np.float64).eps
    for start in range(0, len(x), piece):
        rows = slice(start, start + piece)
        margin = x_norms[rows, None] + y_norms
        near = margin - 2 * (x[rows] @ y.T)
        margin *= precision
        for rule, count in zip(rules, counts, strict=True):
            radii = rule.squared[rows, None] if rule.around_rows else rule.squared[None]
            gap = near - radii
            inside = gap < 0
            _decide(inside, np.abs(gap, out=gap) <= margin, x[rows], y, np.broadcast_to(radii, gap.shape), rule.closed)
            count.rows[rows] = inside.sum(axis=1)
            count.columns[:] += inside.sum(axis=0)
            np.copyto(count.last, start + len(inside) - 1 - inside[::-1].argmax(axis=0), where=inside.any(axis=0))
    return counts


def _decide(inside: Bools, doubtful: Bools, x: Floats, y: Floats, radii: Floats, closed: bool) -> None:
    """Set the doubtful entries of `inside` by distances from differences."""
    rows, columns = np.nonzero(doubtful)
    for start in range(0, len(rows), PAIRS):
        i, j = rows[start : start + PAIRS], columns[start : start + PAIRS]
        exact, limits = from_differences(x, y, i, j), radii[i, j]
        inside[i, j] = exact <= limits if closed else exact < limits


def from_differences(x: Floats, y: Floats, rows: Indices, columns: Indices) -> Floats:
    """Squared distances of the pairs (x[rows], y[columns]), bit for bit the same for the same two rows."""
    squared = np.empty(len(rows))
    for start in range(0, len(rows), PAIRS):
        pairs = slice(start, start + PAIRS)
        gap = x[rows[pairs]] - y[columns[pairs]]
        squared[pairs] = np.einsum("ij,ij->i", gap, gap)
    return squared


def _norms(x: Floats) -> Floats:
    return np.asarray(np.einsum("ij,ij->i", x, x))
