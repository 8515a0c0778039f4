"""From what files call their classes to a benchmark's labels: by name, never by position in a listing."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from harness.data.pictures import Source
from harness.types import HarnessError

SAME = 0.98
"""Share of positions at which two lists of names must agree to be the same list; a few synonyms always differ."""


def labelled(
    source: Source, name: str, classes: Sequence[str] | None, aliases: Sequence[str]
) -> tuple[Tensor, tuple[str, ...]]:
    """Labels (N,) int64, and the classes that they are positions in.

    classes: the benchmark's, in the order of its labels; None takes the source's own.
    aliases: the same classes in other words: a source whose whole list reads like this is known by it.
    """
    targets = torch.from_numpy(source.targets)
    known = source.names or classes or tuple(map(str, range(int(targets.max()) + 1)))
    _check_range(source, targets, len(known))
    if source.names is None or classes is None:
        return targets, tuple(known)
    if _same_list(source.names, aliases):
        return targets, tuple(classes)
    places = {known: place for place, known in enumerate(classes)}
    strange = [found for found in source.names if found not in places]
    if strange:
        raise HarnessError(
            f"{source.root}: {len(strange)} of its {len(source.names)} classes are none of the {len(classes)} of "
            f"{name!r}: {_some(strange)}. Expected names such as {_some(classes)}."
        )
    return torch.tensor([places[found] for found in source.names])[targets], tuple(classes)


def _check_range(source: Source, targets: Tensor, count: int) -> None:
    wrong = ((targets < 0) | (targets >= count)).nonzero()
    if len(wrong):
        first = int(wrong[0])
        raise HarnessError(
            f"{source.where(first)} has the label {int(targets[first])}, and there are {count} classes: "
            "this is another data set, or a split without labels."
        )


def _same_list(names: Sequence[str], aliases: Sequence[str]) -> bool:
    """Whether two lists name the same classes in the same order, by the first word for each."""
    if not names or len(names) != len(aliases):
        return False
    same = sum(_head(a) == _head(b) for a, b in zip(names, aliases, strict=True))
    return same >= SAME * len(names)


def _head(name: str) -> str:
    return name.partition(",")[0].strip().lower()


def _some(names: Sequence[str], most: int = 4) -> str:
    return ", ".join(map(repr, names[:most])) + (f" and {len(names) - most} more" if len(names) > most else "")
