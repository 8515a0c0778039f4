"""Look of all figures: a paper's column wide, names in full, one colour per classifier."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from harness.report.colours import PALETTE, Style, styles
from harness.report.escape import printable

COLUMN = 3.5
"""Width of a figure in inches: that of one column of a paper with two."""

SMALL = 6.5
"""Size of the smallest text in points."""

SETTINGS: Any = {
    "font.size": 7.5,
    "axes.titlesize": 7.5,
    "axes.labelsize": 7.5,
    "xtick.labelsize": SMALL,
    "ytick.labelsize": SMALL,
    "legend.fontsize": SMALL,
    "figure.titlesize": 7.5,
    "legend.frameon": False,
    "axes.linewidth": 0.6,
    "grid.linewidth": 0.5,
    "lines.linewidth": 1.1,
    "lines.markersize": 3.5,
    # Text stays text, to search and to copy. A dollar sign in a name starts no formula.
    "svg.fonttype": "none",
    "svg.hashsalt": "harness",
    "text.parse_math": False,
}
"""matplotlib's settings of every figure."""

LINES = ("-", "--", ":", "-.")
"""Line styles: of methods, and of classifiers beyond the number of colours."""

INKS = (("#0357cb", "-"), ("#d43a0d", "--"), ("#3d9571", ":"), ("0.35", "-."))
"""Colour and line of curves that stand for settings, not for classifiers."""

MARKERS = "os^DvPX*"
"""Marks of methods."""

LOOKS: ContextVar[Mapping[str, Style]] = ContextVar("LOOKS")
"""The look of each classifier in the results folder."""

WRAP = 24
"""Characters of a line of a label."""

LINE = 0.125
"""Height of a line of a legend in inches."""


@contextmanager
def styled(names: Iterable[str]) -> Iterator[None]:
    """Draw in the common look. names: of all classifiers in the results folder, so that each has one colour."""
    import matplotlib as mpl

    token = LOOKS.set(styles(names))
    try:
        with mpl.rc_context(SETTINGS):
            yield
    finally:
        LOOKS.reset(token)


def colour(model: str) -> str:
    """A classifier's colour, for white paper."""
    return PALETTE[LOOKS.get({}).get(model, Style()).colour][0]


def dash(model: str, method: int = 0) -> str:
    """The style of a classifier's line: other ones for classifiers that share a colour, and for its further methods."""
    return LINES[(LOOKS.get({}).get(model, Style()).dash + method) % len(LINES)]


def wrapped(name: str, most: int = WRAP) -> str:
    """A name in full, in lines of at most `most` characters, broken before ``+`` and after ``/``, ``,`` and blanks."""
    lines = [""]
    for piece in re.split(r"(?<=[/,:=\s])|(?=\+)", printable(name)):
        if len(lines[-1]) + len(piece.rstrip()) > most and lines[-1]:
            lines.append("")
        while len(piece) > most:
            lines[-1] = piece[:most]
            lines.append("")
            piece = piece[most:]
        lines[-1] += piece
    return "\n".join(line.rstrip() for line in lines if line)


def canvas(height: float, labels: Sequence[str] = (), columns: int = 2) -> Any:
    """An empty figure one column wide.

    height: of the panels in inches. labels: of the legend below, for which room is added. columns: of that legend.
    """
    from matplotlib.figure import Figure

    rows = [labels[k : k + -(-len(labels) // columns)] for k in range(0, len(labels), -(-len(labels) // columns) or 1)]
    lines = max((sum(label.count("\n") + 1 for label in row) for row in rows), default=0)
    return Figure(figsize=(COLUMN, height + LINE * lines), layout="constrained")


def legend(figure: Any, handles: Sequence[Any], labels: Sequence[str], columns: int = 2, place: str = "lower") -> None:
    """The legend below a figure, or above it."""
    figure.legend(
        handles, labels, loc=f"outside {place} center", ncols=columns, handlelength=1.8, columnspacing=1.0,
        labelspacing=0.3, borderaxespad=0.1,
    )  # fmt: skip
