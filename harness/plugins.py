"""One registry for every kind of plugin: decorate, look up, configure.

A plugin is a decorated class or function in one short file. It is found in ``registry/`` and ``suites/``, in any
installed package that declares the entry point group ``harness.plugins``, or in a file given as ``--plugin FILE.py``:
see `harness.discovery`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields, is_dataclass, replace
from itertools import product
from typing import Any, TypeVar, get_type_hints

from harness.discovery import Origin, loading
from harness.discovery import discover as discover
from harness.errors import HarnessError
from harness.errors import suggest as suggest
from harness.settings import TUNE, changed, parse, spell

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True)
class Entry:
    """A registered plugin.

    build: the decorated class or function.
    facts: keyword arguments of the decorator, such as ``dataset="digits"`` for a model.
    origin: its file or package, if from outside of the project.
    """

    kind: str
    name: str
    build: Callable[..., Any]
    facts: Mapping[str, Any] = field(default_factory=dict)
    origin: Origin = field(default_factory=Origin)

    @property
    def source(self) -> str:
        """What identifies a plugin from outside of the project: see `Origin`; empty for the project's own."""
        return self.origin.source

    @property
    def summary(self) -> str:
        """First line of the plugin's docstring."""
        return (self.build.__doc__ or "").strip().split("\n")[0]

    @property
    def lacks(self) -> str:
        """What must be fetched before the plugin can be built, its fact of that name says; nothing for most."""
        found: str = self.facts.get("lacks", str)()
        return found

    @property
    def parameters(self) -> dict[str, Any]:
        """The plugin's settings and their types."""
        if not is_dataclass(self.build):
            return {}
        hints = get_type_hints(self.build)
        return {f.name: hints[f.name] for f in fields(self.build) if f.init}

    @property
    def sweep(self) -> Mapping[str, Sequence[Any]]:
        """The settings that may be tuned, and their candidates; of several settings the first varies fastest."""
        return getattr(self.build, "sweep", {})

    @property
    def settings(self) -> str:
        """The plugin's settings and their defaults, as they are written on the command line."""
        if not is_dataclass(self.build):
            return ""
        shown = [f for f in fields(self.build) if f.init and f.default is not MISSING]
        return "\n".join(f"{f.name}={spell(f.default)}" for f in shown)


@dataclass(frozen=True)
class Tuned:
    """A plugin some of whose settings are to be chosen on validation data: ``scale:percentile=tune``."""

    base: Any
    sweep: Mapping[str, Sequence[Any]]

    def candidates(self) -> Iterator[Any]:
        """The plugin under every combination of settings; the first setting varies fastest."""
        keys = list(self.sweep)[::-1]
        for values in product(*(self.sweep[key] for key in keys)):
            yield replace(self.base, **dict(zip(keys, values, strict=True)))


@dataclass(frozen=True)
class Family:
    """Another library's collection of plugins: see `Registry.family`."""

    build: Callable[[str], Callable[..., Any]]
    source: Callable[[str], str]
    facts: Mapping[str, Any]

    @property
    def summary(self) -> str:
        """First line of the docstring."""
        return (self.build.__doc__ or "").strip().split("\n")[0]


class Registry:
    """All plugins of one kind. Calling it is the decorator: ``@model("mine", dataset="digits")``."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._entries: dict[str, Entry] = {}
        self.families: dict[str, Family] = {}

    def __call__(self, name: str, **facts: Any) -> Callable[[F], F]:
        def register(build: F) -> F:
            if name in self._entries:
                first = self._entries[name].build
                raise HarnessError(
                    f"Two {self.kind} plugins are called {name!r}: in {first.__module__} and {build.__module__}."
                )
            self._entries[name] = Entry(self.kind, name, build, facts, loading())
            return build

        return register

    @property
    def kinds(self) -> Sequence[str]:
        """The kinds of plugin that a suite of this axis takes."""
        return [self.kind]

    def family(self, prefix: str, source: Callable[[str], str], **facts: Any) -> Callable[[F], F]:
        """Decorate a function from NAME to a plugin: another library's whole collection, as ``prefix/NAME``.

        source: from NAME to what identifies the plugin, such as the library's version.
        """

        def register(build: F) -> F:
            self.families[f"{prefix}/NAME"] = Family(build, source, facts)
            return build

        return register

    def __contains__(self, name: str) -> bool:
        return name in self._entries

    def __getitem__(self, name: str) -> Entry:
        prefix, _, rest = name.partition("/")
        if name not in self._entries and (family := self.families.get(f"{prefix}/NAME")):
            origin = Origin("", family.source(rest))
            self._entries[name] = Entry(self.kind, name, family.build(rest), family.facts, origin)
        if name not in self._entries:
            raise suggest(self.kind, name, [*self._entries, *self.families])
        return self._entries[name]

    def of(self, text: str) -> Entry:
        """The plugin that ``name:key=value`` configures."""
        return self[text.partition(":")[0]]

    def parts(self, text: str) -> list[Entry]:
        """The plugins that a text names: one."""
        return [self.of(text)]

    def entries(self) -> list[Entry]:
        """Every plugin of this kind, by name."""
        return [self._entries[name] for name in sorted(self._entries)]

    def configure(self, text: str) -> tuple[str, Any]:
        """Build a dataclass plugin from ``name:key=value,key=value``; a value may itself hold commas (``times=0,50``).

        A value without a key, at the start, belongs to the first setting: ``de:0,100`` is ``de:times=0,100``.

        Returns the canonical text, which names every setting that differs from the class's own default, and the object.
        """
        name, _, rest = text.partition(":")
        entry = self[name]
        values = parse(text, rest, entry.parameters, entry.sweep)
        tuned = [key for key in entry.sweep if values.get(key) == TUNE]
        try:
            plugin = entry.build(**{key: value for key, value in values.items() if key not in tuned})
        except (TypeError, ValueError) as error:
            raise HarnessError(f"{self.kind} {text!r}: {error}") from error
        told = [f"{key}={spell(getattr(plugin, key))}" for key in changed(plugin) if key in entry.parameters]
        told += [f"{key}={TUNE}" for key in tuned]
        if tuned:
            plugin = Tuned(plugin, {key: entry.sweep[key] for key in tuned})
        return ":".join([name, ",".join(told)] if told else [name]), plugin

    def names(self, given: Mapping[str, Sequence[str]], usual: Sequence[str]) -> list[str]:
        """Canonical names of what the command line gives for this kind, or of the suite's usual line-up."""
        return [self.configure(text)[0] for text in given[self.kind] or usual]


@dataclass(frozen=True)
class Combination:
    """One plugin under another: a detector on what a test-time method shows."""

    outer: Any
    inner: Any

    @property
    def group(self) -> int:
        """How many consecutive samples belong together: see `harness.types.Adaptation.group`."""
        return int(getattr(self.outer, "group", 1))


class Combined:
    """Plugins of one kind under plugins of another, written ``outer+inner``; without ``outer+`` under its default.

    It is looked up and configured like a `Registry`: ``de:0,100+scale`` is the detector `scale` under the test-time
    method `de`.
    """

    def __init__(self, outer: Registry, inner: Registry, default: str) -> None:
        self.kind, self._outer, self._inner, self._default = inner.kind, outer, inner, default

    @property
    def kinds(self) -> Sequence[str]:
        """Both kinds."""
        return [self._outer.kind, self._inner.kind]

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
        origin = Origin(" ".join(filter(None, (outer.origin.name, inner.origin.name))), outer.source + inner.source)
        return replace(inner, name=text, facts=facts, origin=origin)

    def parts(self, text: str) -> list[Entry]:
        """The outer and the inner plugin."""
        outer, inner = self._split(text)
        return [self._outer.of(outer), self._inner.of(inner)]

    def configure(self, text: str) -> tuple[str, Combination]:
        """See `Registry.configure`; the object holds both."""
        outer, inner = self._split(text)
        (first, above), (second, below) = self._outer.configure(outer), self._inner.configure(inner)
        name = second if first == self._default else f"{first}+{second}"
        return name, Combination(above, below)

    def names(self, given: Mapping[str, Sequence[str]], usual: Sequence[str]) -> list[str]:
        """Every given outer plugin with every given inner one."""
        outer, inner = given[self._outer.kind] or [self._default], given[self._inner.kind] or usual
        # Names as tables print them, de+scale, already say their outer plugin.
        whole = [text for text in inner if self._split(text)[1] != text]
        names = [*whole, *(f"{first}+{second}" for first in outer for second in inner if second not in whole)]
        return [self.configure(name)[0] for name in names]


model = Registry("model")
method = Registry("test-time method")
smoother = Registry("smoother")
suite = Registry("suite")
detector = Registry("detector")
attack = Registry("attack")
denoiser = Registry("denoiser")
dataset = Registry("data set")
architecture = Registry("architecture")
augmentation = Registry("augmentation")
distorter = Registry("DeepAugment network")

AXES: dict[str, Registry | Combined] = {
    "method": method,
    "smoother": smoother,
    "detector": Combined(method, detector, "default"),
}
"""What a suite may combine with classifiers, by the name of its `axis`."""
