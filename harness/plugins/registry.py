"""The plugins of one kind: register by decorator, look up by name, configure by text."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from inspect import signature
from typing import Any, TypeVar, get_type_hints

from harness.base.errors import HarnessError, suggest
from harness.plugins.configured import Configured, Tuned
from harness.plugins.discovery import Origin, loading
from harness.plugins.settings import TUNE, changed, parse, spell

F = TypeVar("F", bound=Callable[..., Any])

NAME = r"[^\s:,=]+"
"""Names of plugins: the other characters have a meaning in ``name:key=value,key=value``."""


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
        """Hash or version that identifies a plugin from outside of the project: see `Origin`; empty for others."""
        return self.origin.source

    @property
    def summary(self) -> str:
        """First line of the plugin's docstring."""
        return _first_line(self.build)

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
class PluginFamily:
    """Another library's collection of plugins: see `Registry.family`."""

    build: Callable[[str], Callable[..., Any]]
    source: Callable[[str], str]
    facts: Mapping[str, Any]

    @property
    def summary(self) -> str:
        """First line of the docstring."""
        return _first_line(self.build)


class Registry:
    """All plugins of one kind. Calling it is the decorator: ``@model("mine", dataset="digits")``.

    kind: its name in messages. option: the option of ``harness run`` that names such a plugin, for the kinds that a
        suite combines with classifiers. reserved: words that mean something else where such plugins are named.
    """

    def __init__(self, kind: str, option: str = "", reserved: Sequence[str] = ()) -> None:
        self.kind, self.option, self.reserved = kind, option, reserved
        self.families: dict[str, PluginFamily] = {}
        self._entries: dict[str, Entry] = {}
        self._family_entries: dict[str, Entry] = {}

    def __call__(self, name: str, **facts: Any) -> Callable[[F], F]:
        def register(build: F) -> F:
            self.check_name(name)
            if name in self._entries:
                first = self._entries[name]
                older, newer = first.origin.name or first.build.__module__, loading().name or build.__module__
                raise HarnessError(
                    f"Two {self.kind} plugins are called {name!r}: in {older} and {newer}. Rename one of the two."
                )
            self._entries[name] = Entry(self.kind, name, build, facts, loading())
            return build

        return register

    def check_name(self, name: str) -> None:
        """Raise HarnessError for a name that no option or setting could spell."""
        if not re.fullmatch(NAME, name) or name in self.reserved:
            reserved = f" and is not {' or '.join(map(repr, self.reserved))}" if self.reserved else ""
            raise HarnessError(
                f"The name {name!r} of a {self.kind} plugin cannot be written on the command line. Choose one that has "
                f"no blank, comma, colon or equals sign{reserved}."
            )

    def family(self, prefix: str, source: Callable[[str], str], **facts: Any) -> Callable[[F], F]:
        """Decorate a function from NAME to a plugin: another library's whole collection, as ``prefix/NAME``.

        source: from NAME to the text that identifies the plugin, such as the library's version.
        """

        def register(build: F) -> F:
            self.families[f"{prefix}/NAME"] = PluginFamily(build, source, facts)
            loading()  # a file that registers a family alone has registered something
            return build

        return register

    def admit(self, entry: Entry) -> None:
        """Take in the plugin of a live object, which is not listed, in place of an earlier one of that name.

        Raises HarnessError for the name of a registered plugin.
        """
        prefix, slash, _ = entry.name.partition("/")
        if entry.name in self._entries or (slash and f"{prefix}/NAME" in self.families):
            raise HarnessError(
                f"A {self.kind} is registered as {entry.name!r}, and an object of another class has that name, too. "
                "Give the object another one: its attribute `name`."
            )
        self._family_entries[entry.name] = entry

    def text_of(self, plugin: Any) -> str | None:
        """The canonical text of an object of a registered class, as `configure` takes it; None for any other object."""
        for entry in self._entries.values():
            if entry.build is plugin or (isinstance(entry.build, type) and entry.build is type(plugin)):
                return plugin_text(entry.name, [] if entry.build is plugin else settings_of(plugin, entry))
        return None

    @property
    def registries(self) -> Sequence[Registry]:
        """The registries behind a suite's axis: this one."""
        return [self]

    @property
    def kinds(self) -> Sequence[str]:
        """The kinds of plugin that a suite of this axis takes."""
        return [self.kind]

    def __contains__(self, name: str) -> bool:
        return name in self._entries

    def __getitem__(self, name: str) -> Entry:
        entry = self.get(name) or self._of_family(name)
        if entry is None:
            raise unknown(self.kind, name, [*self._entries, *self.families])
        return entry

    def get(self, name: str) -> Entry | None:
        """The plugin that is registered under a name, built before by a family, or a live object's; None for others."""
        return self._entries.get(name) or self._family_entries.get(name)

    def _of_family(self, name: str) -> Entry | None:
        prefix, _, rest = name.partition("/")
        family = self.families.get(f"{prefix}/NAME")
        if family is None:
            return None
        entry = Entry(self.kind, name, family.build(rest), family.facts, Origin("", family.source(rest)))
        self._family_entries[name] = entry
        return entry

    def of(self, text: str) -> Entry:
        """The plugin that ``name:key=value`` configures."""
        return self[text.partition(":")[0]]

    def parts(self, text: str) -> list[Entry]:
        """The plugins that a text names: one."""
        return [self.of(text)]

    def entries(self) -> list[Entry]:
        """Every registered plugin of this kind, by name; those of families are not listed."""
        return [self._entries[name] for name in sorted(self._entries)]

    def configure(self, text: str, **offers: Any) -> Configured:
        """Build a dataclass plugin from ``name:key=value,key=value``; a value may itself hold commas (``times=0,50``).

        A value without a key, at the start, belongs to the first setting: ``de:0,100`` is ``de:times=0,100``.
        offers: see `arguments_for`.
        Raises HarnessError for unknown names and settings, and for values that the plugin refuses.
        """
        name, _, rest = text.partition(":")
        entry = self[name]
        values = parse(text, rest, entry.parameters, entry.sweep)
        tuned = [key for key in entry.sweep if values.get(key) == TUNE]
        try:
            fixed = {key: value for key, value in values.items() if key not in tuned}
            plugin = entry.build(**fixed, **arguments_for(entry.build, **offers))
        except (TypeError, ValueError) as error:
            raise HarnessError(f"{self.kind} {text!r}: {error}") from error
        settings = settings_of(plugin, entry) + [f"{key}={TUNE}" for key in tuned]
        if tuned:
            plugin = Tuned(plugin, {key: entry.sweep[key] for key in tuned})
        return Configured(plugin_text(name, settings), plugin, entry)

    def select(self, texts: Mapping[str, Sequence[str]], defaults: Sequence[str]) -> list[Configured]:
        """The plugins that the command line names, or the suite's defaults.

        texts: by kind of plugin. defaults: texts to take if there are none of this kind.
        """
        return [self.configure(text) for text in texts.get(self.kind) or defaults]


def settings_of(plugin: Any, entry: Entry) -> list[str]:
    """The settings of a built plugin that differ from its class's defaults, as ``key=value``."""
    return [f"{key}={spell(getattr(plugin, key))}" for key in changed(plugin) if key in entry.parameters]


def plugin_text(name: str, settings: Sequence[str]) -> str:
    """A name with its settings: ``de:times=0,100``."""
    return ":".join([name, ",".join(settings)] if settings else [name])


def unknown(kind: str, name: str, choices: list[str]) -> HarnessError:
    """The error for a plugin name that is not registered: see `harness.base.errors.suggest`."""
    return HarnessError(f"{suggest(kind, name, choices)} A plugin in your own file needs --plugin FILE.py.")


def arguments_for(build: Callable[..., Any], **offers: Any) -> dict[str, Any]:
    """The offers that a builder declares as parameters, by name; none for a dataclass, whose fields are settings."""
    if isinstance(build, type) and is_dataclass(build):
        return {}
    try:
        parameters = signature(build).parameters
    except (TypeError, ValueError):  # some callables of compiled libraries have no signature
        return {}
    return {name: offer for name, offer in offers.items() if name in parameters}


def _first_line(documented: Any) -> str:
    return (documented.__doc__ or "").strip().split("\n")[0]
