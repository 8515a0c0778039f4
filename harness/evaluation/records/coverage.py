"""Coverage of a benchmark by a run: the number of source images, and the note on missing ones."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from harness.data.folder_contents import UNREAD

NAMED = 3
"""Images that a note names."""

SKIPPED = "Unreadable and left out: "
"""Start of the note on images that were skipped."""


@dataclass(frozen=True)
class _Group:
    """Conditions that share images. images: ids of all of them. published: largest number that any of them had."""

    images: frozenset[str]
    published: int


def count_images(conditions: Iterable[tuple[Sequence[str], int]]) -> int:
    """Source images of a benchmark: those that are there, and those that were published and are missing.

    conditions: per condition the ids of its images, and how many were published, 0 if unknown.
    Conditions that share an image, directly or through others, show versions of the same images, and lack the same.
    """
    largest: dict[tuple[str, ...], int] = {}
    for ids, published in conditions:
        largest[tuple(ids)] = max(published, largest.get(tuple(ids), 0))
    groups: list[_Group] = []
    for ids, published in largest.items():
        merged = _Group(frozenset(ids), published)
        apart = []
        for group in groups:
            if group.images.isdisjoint(merged.images):
                apart.append(group)
            else:
                merged = _Group(group.images | merged.images, max(group.published, merged.published))
        groups = [*apart, merged]
    return sum(max(group.published, len(group.images)) for group in groups)


def note_on_skipped(names: Sequence[str], missing: int, planned: int) -> str:
    """A sentence on images that were skipped. names: of the images; missing: of the planned rows."""
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return f"{SKIPPED}{missing} of {planned} rows, of the images {', '.join(names[:NAMED])}{more}."


def has_skipped(notes: Iterable[str]) -> bool:
    """True for the notes of a record that only a run with ``--on-bad-image skip`` can have made."""
    return any(note.startswith(SKIPPED) or UNREAD in note for note in notes)
