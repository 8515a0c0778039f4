"""Choose one network of a training script's file: many hold a running average beside the raw weights.

A file with several networks is refused unless the user names one: FILE#PART.
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
"""Keys under which training scripts save the network, beside the optimiser and the step."""
AVERAGE = re.compile(r"ema|averag|shadow|swa|teacher|polyak", re.IGNORECASE)
"""Names of averages that are no state dict, or that an optimiser keeps."""
OPTIMISER = re.compile(r"(^|\.)optim", re.IGNORECASE)
"""Names of an optimiser's state."""
DEPTH = 8
"""Deepest level of dicts and lists that is searched."""
LISTED = 12
"""Largest number of parts that a message names."""


def network(path: Path, saved: Any, part: str = "") -> Any:
    """The state dict in a training script's file: the named part, or else the only one.

    Raises HarnessError for several networks, or none of that name. Other content is returned as it is.
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
    """The innermost value of nested dicts, with its keys; few levels are followed, as a pickle may hold itself."""
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
    """The tensors of each dict and list in a file, by its keys joined with dots."""
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
    """True if other tensors are a second network of the same kind: most shapes agree."""
    if other == name:
        return False
    first, second = (Counter(tuple(t.shape) for t in held.values() if t.ndim) for held in (state, tensors))
    listed = all(key.isdigit() for key in tensors)
    return 2 * (first & second).total() > first.total() and (not listed or bool(AVERAGE.search(other)))


def several(path: Path, names: Sequence[str]) -> HarnessError:
    """The error for a file with several networks under these names; an empty one is the file itself."""
    shown = [name or "itself" for name in names]
    count = {2: "two", 3: "three"}.get(len(shown), str(len(shown)))
    example = next((name for name in names[1:] if name), names[0])
    return HarnessError(
        f"{path} holds {count} networks, as {' and as '.join(shown[:LISTED])}. Name one after a #, such "
        f"as {path}#{example}, or save that one alone."
    )


def _part(path: Path, groups: Mapping[str, Mapping[str, Tensor]], part: str) -> Mapping[str, Tensor]:
    """The named group; or the only one below that name; or the tensors whose own names begin with it."""
    inner = [name for name in groups if name.startswith(f"{part}.")]
    if part in groups:
        state = groups[part]
    elif len(inner) == 1:
        state = groups[inner[0]]
    elif inner:
        raise several(path, inner)
    else:
        flat = [
            {key.removeprefix(f"{part}."): tensor for key, tensor in group.items() if key.startswith(f"{part}.")}
            for group in groups.values()
        ]
        if len(matches := [group for group in flat if group]) != 1:
            names = ", ".join(sorted(name or "itself" for name in groups)[:LISTED]) or "none"
            raise HarnessError(f"{path} holds no network as {part}. Its groups of tensors: {names}.")
        state = matches[0]
    if all(name.isdigit() for name in state):
        raise HarnessError(f"{path} holds {part} as a list: its tensors have no names, and cannot be loaded by these.")
    return state
