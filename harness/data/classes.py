"""Labels from the class names in a data set's files: by name, never by position where both sides have names.

Numbers are names, too: the class 7 is called "7". Beside a list of words, a list of numbers means positions.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from harness.types import Dataset, HarnessError

if TYPE_CHECKING:
    from harness.data.pictures import EncodedImages

SAME = 0.98
"""Share of positions at which two lists of class names agree if they are one list: a few synonyms differ."""

LARGEST = 100_000
"""Classes at most in a data set without names: ImageNet-21k has 21,841."""

TRAINING = "the training split"
"""Order of classes that all splits share, in words."""


@dataclass(frozen=True)
class Naming:
    """The match of a data set's labels to its classes.

    files: class names in the order of the files; numbers where the files number their classes.
    order: origin of the order of the classes, in words; "" for the list of a benchmark.
    note: remark for the record if classes were matched by position; "" if all were matched by name.
    """

    files: tuple[str, ...] = ()
    order: str = ""
    note: str = ""


UNTOLD = Naming()
"""The default: classes in the order of a benchmark's list."""


@dataclass(frozen=True)
class Labelled:
    """The labels of a source.

    labels: (N,) int64, positions in `classes`. classes: names. naming: how labels were matched to classes.
    """

    labels: Tensor
    classes: tuple[str, ...]
    naming: Naming


def names_of(data: Dataset) -> tuple[str, ...]:
    """The names of a data set's classes by label; empty where classes are only numbered."""
    return tuple(getattr(data, "classes", ()))  # data sets of plugins may be older than names


def naming_of(data: Dataset) -> Naming:
    """The match of a data set's labels to its classes."""
    naming: Naming = getattr(data, "naming", UNTOLD)
    return naming


def numbers(count: int) -> tuple[str, ...]:
    """The names of classes that are only numbered: "0", "1", ..."""
    return tuple(map(str, range(count)))


def numbered(names: Sequence[str]) -> bool:
    """True if all names of a list are different numbers."""
    if not names or not all(re.fullmatch("[0-9]{1,6}", name) for name in names):
        return False
    return len(set(map(int, names))) == len(names)


@dataclass(frozen=True)
class Places:
    """Classes of one list located in another.

    there: for each class of the first list, its position in the second. by_name: whether classes were matched by name.
    """

    there: list[int]
    by_name: bool


def places(own: Sequence[str], wanted: Sequence[str]) -> Places | None:
    """The positions of the classes of `own` in `wanted`; None if both are names and `wanted` lacks one.

    A list of numbers beside a list of words means positions in it. Words beside numbers must be as many.
    """
    place_of = {name: place for place, name in enumerate(wanted)}
    if all(name in place_of for name in own):
        return Places([place_of[name] for name in own], True)
    values = [int(name) for name in own] if numbered(own) else list(range(len(own)))
    if numbered(wanted) and (numbered(own) or len(own) == len(wanted)):
        place_of_value = {int(name): place for place, name in enumerate(wanted)}
    elif numbered(own):
        place_of_value = {place: place for place in range(len(wanted))}
    else:
        return None
    if not all(value in place_of_value for value in values):
        return None
    return Places([place_of_value[value] for value in values], numbered(own) and numbered(wanted))


def labelled(
    source: EncodedImages,
    name: str,
    classes: Sequence[str] | None,
    aliases: Sequence[str] = (),
    beside: Sequence[str] = (),
    split: str = "",
) -> Labelled:
    """The labels of a source.

    name: of the benchmark, for messages.
    classes: the benchmark's, in the order of its labels; None takes the data's own: those of the training split, which
        are `beside`, or without these the source's.
    aliases: the benchmark's classes in other words: a source whose list reads like this has the benchmark's classes.
    split: that of the source, for messages; it decides the order of the data's own classes.
    Raises HarnessError for labels outside the classes, and for class names that these lack.
    """
    targets = torch.from_numpy(source.targets)
    own, positions = _listed(source, targets)
    order = TRAINING if beside or split == "train" else f"the split {split!r}"
    if len(own) == len(aliases) and same_list(own, aliases):
        return Labelled(targets, tuple(classes or own), Naming(own, ""))
    if classes is None and beside and numbered(beside) and source.names is not None and not numbered(own):
        return _beside_numbers(source, targets, own, beside, split)
    if classes is not None:
        wanted, whose, order = tuple(classes), repr(name), ""
    elif beside:
        wanted, whose = tuple(beside), TRAINING
    else:
        wanted, whose = own if source.names is not None else numbers(int(targets.max()) + 1), ""
    if source.names is None:
        _check_range(source, targets, _count(wanted))
    matched = places(own, wanted)
    if matched is None:
        raise HarnessError(_disagreement(source, own, wanted, whose, split))
    _check_different(source, own)
    note = "" if matched.by_name else _by_position(own, wanted, whose)
    return Labelled(torch.tensor(matched.there)[positions], wanted, Naming(own, order, note))


def _listed(source: EncodedImages, targets: Tensor) -> tuple[tuple[str, ...], Tensor]:
    """The files' names of the classes, and positions (N,) in these; for numbered classes the numbers that occur."""
    if source.names is None:
        _check_range(source, targets, LARGEST)
        values, positions = torch.unique(targets, return_inverse=True)
        return tuple(map(str, values.tolist())), positions
    own = tuple(source.names)
    _check_range(source, targets, len(own))
    return own, targets


def _count(names: Sequence[str]) -> int:
    """The least number above all labels that a list of classes allows."""
    return max(map(int, names)) + 1 if numbered(names) else len(names)


def _beside_numbers(
    source: EncodedImages, targets: Tensor, own: tuple[str, ...], beside: Sequence[str], split: str
) -> Labelled:
    """Labels of a split that names its classes, beside a training split that only numbers them."""
    _check_different(source, own)
    if _count(beside) > len(own):
        raise HarnessError(
            f"{source.root}: the split {split!r} has {len(own)} classes with names ({shortened(own)}), and the "
            f"training split numbers {_count(beside)} or more: which number is which name cannot be known. Name the "
            "classes in both."
        )
    note = f"The training split only numbers its classes: they were taken by position for {shortened(own)}."
    return Labelled(targets, own, Naming(own, f"the split {split!r}", note))


def _by_position(own: Sequence[str], wanted: Sequence[str], whose: str) -> str:
    if numbered(own):
        return f"Labels are numbers: they were taken as positions among the classes of {whose}: {shortened(wanted)}."
    return f"The classes of {whose} are only numbered: names were taken by position, in the order {shortened(own)}."


def _disagreement(source: EncodedImages, own: Sequence[str], wanted: Sequence[str], whose: str, split: str) -> str:
    strange = [name for name in own if name not in set(wanted)]
    here = f" in the split {split!r}" if split else ""
    return (
        f"{source.root}: {len(strange)} of its {len(own)} classes{here} are none of the {len(wanted)} of {whose}: "
        f"{shortened(strange)}. Found: {shortened(own)}. Expected names such as {shortened(wanted)}."
    )


def _check_different(source: EncodedImages, names: Sequence[str]) -> None:
    name, count = Counter(names).most_common(1)[0]
    if count > 1:
        raise HarnessError(f"{source.root}: {count} classes are called {name!r}. Give each class a different name.")


def _check_range(source: EncodedImages, targets: Tensor, count: int) -> None:
    wrong = ((targets < 0) | (targets >= count)).nonzero()
    if len(wrong):
        first = int(wrong[0])
        raise HarnessError(
            f"{source.where(first)} has the label {int(targets[first])}, and there are {count} classes: "
            "this is another data set, or a split without labels."
        )


def same_list(names: Sequence[str], aliases: Sequence[str]) -> bool:
    """True if two lists name the same classes in the same order, by the first word for each."""
    if not names or len(names) != len(aliases):
        return False
    same = sum(_head(a) == _head(b) for a, b in zip(names, aliases, strict=True))
    return same >= SAME * len(names)


def _head(name: str) -> str:
    return name.partition(",")[0].strip().lower()


def shortened(names: Sequence[str], most: int = 4) -> str:
    """The first names of a list, for messages and notes."""
    return ", ".join(map(repr, names[:most])) + (f" and {len(names) - most} more" if len(names) > most else "")
