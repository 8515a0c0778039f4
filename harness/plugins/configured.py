"""Plugins with their settings: the objects that a run works with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from harness.plugins.registry import Entry


@dataclass(frozen=True)
class Configured:
    """A plugin with its settings, parsed and built once.

    text: canonical spelling, ``de:times=0,100``; it names every setting that differs from the class's own default.
    plugin: the built object; a `Combination` for ``outer+inner``, a `Tuned` where settings are to be chosen.
    entry: the registration, with the decorator's facts.
    """

    text: str
    plugin: Any
    entry: Entry


@dataclass(frozen=True)
class Tuned:
    """A plugin with settings that are to be chosen on validation data: ``scale:percentile=tune``.

    sweep: by setting, the candidates.
    """

    base: Any
    sweep: Mapping[str, Sequence[Any]]

    def candidates(self) -> Iterator[Any]:
        """The plugin under every combination of settings; the first setting varies fastest."""
        keys = list(self.sweep)[::-1]
        for values in product(*(self.sweep[key] for key in keys)):
            yield replace(self.base, **dict(zip(keys, values, strict=True)))
