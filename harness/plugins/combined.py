"""Plugins of one kind under plugins of another: a detector on what a test-time method shows."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from harness.plugins.configured import Configured
from harness.plugins.discovery import Origin
from harness.plugins.registry import Entry, Registry


@dataclass(frozen=True)
class Combination:
    """One plugin under another: a detector on what a test-time method shows."""

    outer: Any
    inner: Any

    @property
    def group(self) -> int:
        """Number of consecutive samples that belong together: see `harness.types.Adaptation.group`."""
        return int(getattr(self.outer, "group", 1))


class Combined:
    """Plugins of one kind under plugins of another, written ``outer+inner``; without ``outer+`` under its default.

    It is looked up and configured like a `Registry`: ``de:0,100+scale`` is the detector `scale` under the test-time
    method `de`.
    """

    def __init__(self, outer: Registry, inner: Registry, default: str) -> None:
        self.kind, self.option = inner.kind, inner.option
        self._outer, self._inner, self._default = outer, inner, default

    @property
    def registries(self) -> Sequence[Registry]:
        """The outer and the inner registry."""
        return [self._outer, self._inner]

    @property
    def kinds(self) -> Sequence[str]:
        """Both kinds."""
        return [registry.kind for registry in self.registries]

    def entries(self) -> list[Entry]:
        """Every inner plugin, by name."""
        return self._inner.entries()

    def _split(self, text: str) -> tuple[str, str]:
        # A plus sign before a digit belongs to a number: odin:temperature=1e+3.
        parts = re.split(r"\+(?=[A-Za-z])", text, maxsplit=1)
        return (parts[0], parts[1]) if len(parts) > 1 else (self._default, text)

    def of(self, text: str) -> Entry:
        """Facts of the two together: those of the inner, and a denoiser if either needs one."""
        outer, inner = self.parts(text)
        facts = {**inner.facts, "denoiser": any(entry.facts.get("denoiser") for entry in (outer, inner))}
        names = " ".join(filter(None, (outer.origin.name, inner.origin.name)))
        origin = Origin(names, outer.source + inner.source, outer.origin.live or inner.origin.live)
        return replace(inner, name=text, facts=facts, origin=origin)

    def parts(self, text: str) -> list[Entry]:
        """The outer and the inner plugin."""
        outer, inner = self._split(text)
        return [self._outer.of(outer), self._inner.of(inner)]

    def configure(self, text: str) -> Configured:
        """See `Registry.configure`; the plugin is a `Combination`."""
        outer_text, inner_text = self._split(text)
        outer, inner = self._outer.configure(outer_text), self._inner.configure(inner_text)
        name = inner.text if outer.text == self._default else f"{outer.text}+{inner.text}"
        return Configured(name, Combination(outer.plugin, inner.plugin), self.of(name))

    def select(self, texts: Mapping[str, Sequence[str]], defaults: Sequence[str]) -> list[Configured]:
        """Every outer plugin with every inner one; see `Registry.select`.

        An inner text that names its outer plugin, as tables print it (``de+scale``), is taken as it is.
        """
        outers, inners = texts.get(self._outer.kind) or [self._default], texts.get(self._inner.kind) or defaults
        combined = [text for text in inners if self._split(text)[1] != text]
        bare = [text for text in inners if text not in combined]
        pairs = [f"{outer}+{inner}" for outer in outers for inner in bare]
        return [self.configure(text) for text in [*combined, *pairs]]
