"""Choice of what a figure shows: it holds few rows, says which ones, and how to get the others."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

from harness.base.errors import Notice
from harness.report.escape import printable

MOST = 12
"""Rows, columns or lines of a figure."""


def chosen(names: Sequence[str], noun: str, option: str, most: int = MOST) -> list[str]:
    """The first of some names, which are sorted from the best on; a notice names the others.

    noun: kind of the names in the plural, such as "classifiers". option: the command line's option that chooses them.
    """
    names = list(dict.fromkeys(names))
    if len(names) > most:
        left_out = ", ".join(map(printable, names[most:]))
        warnings.warn(
            Notice(f"The figure shows the best {most} of {len(names)} {noun}; choose with {option}. Not: {left_out}."),
            stacklevel=3,
        )
    return names[:most]


def shares(names: Sequence[str], shown: Sequence[str], noun: str) -> str:
    """Words for a figure's title: " (best 12 of 19 detectors)"; empty where all are shown."""
    total = len(set(names))
    return f" (best {len(shown)} of {total} {noun})" if len(shown) < total else ""
