"""The training samples that keep their labels (``--labels``), and those that are used at all (``--limit``)."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Sequence

from torch import Tensor

from harness.base import noise
from harness.types import HarnessError


def first_of_each_class(ids: Sequence[str], labels: Tensor, count: int) -> tuple[int, ...]:
    """Positions of `count` samples in their order, as many of each class as possible, chosen by a hash of their ids.

    A larger count contains every smaller one, and the order of the samples does not matter. labels: (N,) int64.
    """
    hashes = [hashlib.sha256(name.encode()).digest() for name in ids]
    seen: dict[int, int] = defaultdict(int)
    turns: list[tuple[int, bytes, int]] = []
    classes = labels.tolist()
    for place in sorted(range(len(ids)), key=hashes.__getitem__):
        turns.append((seen[classes[place]], hashes[place], place))
        seen[classes[place]] += 1
    return tuple(sorted(place for _, _, place in sorted(turns)[:count]))


def labelled(ids: Sequence[str], fraction: float, seed: int, labels: Tensor) -> frozenset[str]:
    """The samples that keep their labels: the same share of every class, rounded, chosen by a hash of (seed, id).

    A larger fraction contains every smaller one, and the order of the samples does not matter. labels: (N,) int64.

    Raises HarnessError for a fraction outside (0, 1], or one that leaves a class without any label.
    """
    if not 0 < fraction <= 1:
        raise HarnessError(f"--labels {fraction:g} is not a share of the training set: give a number in (0, 1].")
    classes: dict[int, list[str]] = {}
    for name, label in zip(ids, labels.tolist(), strict=True):
        classes.setdefault(label, []).append(name)
    chosen: set[str] = set()
    for label, members in classes.items():
        count = int(fraction * len(members) + 0.5)
        if not count:
            raise HarnessError(
                f"--labels {fraction:g} leaves class {label}, of {len(members)} samples, without a label. "
                f"Give at least {1 / len(members):.2g}."
            )
        rank = {name: noise.generator(seed, "labelled", name).random() for name in members}
        chosen.update(sorted(members, key=rank.__getitem__)[:count])
    return frozenset(chosen)
