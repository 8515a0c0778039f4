"""Which network of a training script's file is meant: many hold a running average beside the raw weights.

Such a file is refused like one of two networks, unless the user says which: FILE#PART.
"""

from __future__ import annotations

import re
from argparse import Namespace
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from harness.types import HarnessError

NESTED = ("state_dict", "model", "model_state_dict", "net")
"""Where training scripts put the network in what they save, beside the optimiser and the step."""
AVERAGE = re.compile(r"ema|averag|shadow|swa|teacher|polyak", re.IGNORECASE)
"""What an average is called that is no state dict, or that an optimiser keeps."""
OPTIMISER = re.compile(r"(^|\.)optim", re.IGNORECASE)
DEPTH = 8
"""Levels of dicts and lists that are searched."""
LISTED = 12
"""Parts that a message names."""


def network(path: Path, saved: Any, part: str = "") -> Any:
    """The state dict in what a training script saved: the part that is named, or else the only one.

    Raises HarnessError where there are several, or none of that name. Anything else comes back as it is.
    """
    groups = {name: state for name, state in _groups(saved) if not OPTIMISER.search(name) or AVERAGE.search(name)}
    if part:
        return _part(path, groups, part)
    name, state = _nested(path, saved)
    rivals = [other for other in groups if _rivals(name, groups.get(name, {}), other, groups[other])]
    if not rivals and name not in groups:
        largest = max(groups, key=lambda name: len(groups[name]), default="")
        rivals = [other for other in groups if _rivals(largest, groups[largest], other, groups[other])]
        name = largest
    if rivals:
        raise several(path, [name, *rivals])
    return state


def _nested(path: Path, saved: Any) -> tuple[str, Any]:
    """What lies innermost in the dicts that training scripts make, of which there are few: a pickle may hold itself."""
    names: list[str] = []
    for _ in NESTED:
        held = saved if isinstance(saved, Mapping) else {}
        inner = {key: held[key] for key in NESTED if isinstance(held.get(key), Mapping)}
        if len(inner) > 1:
            raise several(path, [".".join([*names, key]) for key in inner])
        if inner:
            (key, saved), *_ = inner.items()
            names.append(key)
    return ".".join(names), saved


def _groups(saved: Any) -> Iterator[tuple[str, Mapping[str, Tensor]]]:
    """All tensors of each dict and list in a file, by the keys that lead there, with dots between."""
    seen: set[int] = set()
    waiting: deque[tuple[tuple[str, ...], Any]] = deque([((), saved)])
    while waiting:
        keys, held = waiting.popleft()
        if id(held) in seen or len(keys) > DEPTH:
            continue
        seen.add(id(held))
        items = list(_items(held))
        if tensors := {str(key): value for key, value in items if isinstance(value, Tensor)}:
            yield ".".join(keys), tensors
        waiting.extend(
            ((*keys, str(key)), value) for key, value in items if not isinstance(value, Tensor | str | bytes)
        )


def _items(held: Any) -> Iterator[tuple[Any, Any]]:
    if isinstance(held, Namespace):
        held = vars(held)
    if isinstance(held, Mapping):
        yield from held.items()
    elif isinstance(held, list | tuple):
        yield from enumerate(held)


def _rivals(name: str, state: Mapping[str, Tensor], other: str, tensors: Mapping[str, Tensor]) -> bool:
    """Whether other tensors are a second network of the kind: most of their shapes are those of the first."""
    if other == name:
        return False
    first, second = (Counter(tuple(t.shape) for t in held.values() if t.ndim) for held in (state, tensors))
    listed = all(key.isdigit() for key in tensors)
    return 2 * (first & second).total() > first.total() and (not listed or bool(AVERAGE.search(other)))


def several(path: Path, names: Sequence[str]) -> HarnessError:
    """The error for a file with several networks under these names; an empty one is the file itself."""
    told = [name or "itself" for name in names]
    count = {2: "two", 3: "three"}.get(len(told), str(len(told)))
    example = next((name for name in names[1:] if name), names[0])
    return HarnessError(
        f"{path} holds {count} networks, as {' and as '.join(told[:LISTED])}. Say which one is meant behind a #, such "
        f"as {path}#{example}, or save that one alone."
    )


def _part(path: Path, groups: Mapping[str, Mapping[str, Tensor]], part: str) -> Mapping[str, Tensor]:
    """The named group; or the only one below that name; or the tensors whose own names begin with it."""
    inner = [name for name in groups if name.startswith(f"{part}.")]
    if part in groups:
        found = groups[part]
    elif len(inner) == 1:
        found = groups[inner[0]]
    elif inner:
        raise several(path, inner)
    else:
        flat = [
            {key.removeprefix(f"{part}."): tensor for key, tensor in state.items() if key.startswith(f"{part}.")}
            for state in groups.values()
        ]
        if len(held := [state for state in flat if state]) != 1:
            names = ", ".join(sorted(name or "itself" for name in groups)[:LISTED]) or "none"
            raise HarnessError(f"{path} holds no network as {part}. Its groups of tensors: {names}.")
        found = held[0]
    if all(name.isdigit() for name in found):
        raise HarnessError(f"{path} holds {part} as a list: its tensors have no names, and cannot be loaded by these.")
    return found
