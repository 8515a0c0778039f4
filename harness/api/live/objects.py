"""Plugins as objects: a suite, method, smoother, detector, attack or guide that the caller has built."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import is_dataclass
from types import FunctionType
from typing import Any

from harness import plugins
from harness.api.live.identity import identity_of
from harness.base.errors import HarnessError
from harness.plugins import Configured, Entry, Origin, Registry
from harness.plugins.registry import plugin_text, settings_of
from harness.types.weights import LIVE

FACTS = ("denoiser", "whole", "rectified", "classifier")
"""Attributes of an object that stand for the decorator's facts."""

SUITE = ("name", "version", "dataset", "denoiser", "shown", "axis", "methods", "every", "part", "diffuses")
"""Attributes that a suite must have: see `harness.types.Suite`."""


def texts_of(registry: Registry, listed: Any) -> list[str]:
    """The texts of some plugins. listed: one text or object, or a list of these.

    An object of a registered class becomes its canonical text. Any other object is taken into the registry for as long
    as this process lives, under its attribute `name` or the name of its class; facts that a decorator would state are
    its attributes (``denoiser = True``). Raises HarnessError for objects that cannot be told apart by their texts.
    """
    several = [] if listed is None else listed if isinstance(listed, list | tuple) else [listed]
    objects: dict[str, Any] = {}
    texts = []
    for plugin in several:
        text = text_of(registry, plugin)
        if not isinstance(plugin, str) and objects.setdefault(text, plugin) is not plugin and plugin != objects[text]:
            raise HarnessError(
                f"Two objects are the {registry.kind} {text!r}. Give one of them another name: its attribute `name`."
            )
        texts.append(text)
    return texts


def text_of(registry: Registry, plugin: Any) -> str:
    """The text of one plugin: see `texts_of`."""
    if isinstance(plugin, str):
        return plugin
    if isinstance(plugin, Configured):
        return plugin.text
    if isinstance(plugin, type):
        raise HarnessError(f"{plugin.__name__} is a class where a {registry.kind} is expected. Build it: write ().")
    text = registry.text_of(plugin)
    if text is None:
        return _admitted(registry, plugin)
    if not isinstance(plugin, FunctionType) and not _is_rebuilt(registry, text, plugin):
        raise HarnessError(f"The {registry.kind} {plugin!r} has settings that no text spells: {text!r} is not equal.")
    return text


def _admitted(registry: Registry, plugin: Any) -> str:
    """Register an object of a class that is not registered, and return its text."""
    kind, cls = registry.kind, type(plugin)
    if not callable(plugin) and kind not in (plugins.suite.kind, plugins.detector.kind, plugins.smoother.kind):
        raise HarnessError(f"{plugin!r} is not a {kind}: it cannot be called. See docs/extend.md for one in full.")
    name = str(getattr(plugin, "name", "") or getattr(plugin, "__name__", "") or cls.__name__)
    if kind == plugins.suite.kind:
        _check_suite(plugin, name)
    if not re.fullmatch(r"[A-Za-z][\w./-]*", name):
        raise HarnessError(
            f"The {kind} {name!r} needs a name of letters, digits, '.', '-' and '_': its attribute `name`."
        )
    facts = {fact: getattr(plugin, fact) for fact in FACTS if hasattr(plugin, fact)}
    source, unhashed = identity_of(plugin)
    origin = Origin(f"{LIVE} {name}" + _unhashed(unhashed), source, live=True)
    entry = Entry(kind, name, cls, facts, origin)
    text = plugin_text(name, settings_of(plugin, entry)) if is_dataclass(plugin) else name
    registry.admit(entry)
    if not is_dataclass(plugin) or not _is_rebuilt(registry, text, plugin):
        registry.admit(Entry(kind, name, _returning(plugin), facts, origin))
        text = name
    return text


def _unhashed(names: Sequence[str]) -> str:
    return f" (never resumed: no hash covers its {', '.join(names)})" if names else ""


def _check_suite(suite: Any, name: str) -> None:
    """Raise HarnessError for a suite that lacks what every suite states."""
    lacking = [fact for fact in SUITE if not hasattr(suite, fact)]
    if lacking:
        raise HarnessError(
            f"The suite {name!r} lacks {', '.join(lacking)}. State them as class attributes: see harness.types.Suite, "
            "and harness.suites.bases.suite.SuiteBase, which has defaults for most of them."
        )


def _is_rebuilt(registry: Registry, text: str, plugin: Any) -> bool:
    """True if a text gives an equal object."""
    try:
        built = registry.configure(text).plugin
        return bool(built == plugin or (type(built) is type(plugin) and not getattr(plugin, "__dict__", {})))
    except Exception:  # HarnessError, or whatever comparing settings such as tensors raises
        return False


def _returning(plugin: Any) -> Callable[[], Any]:
    """A builder of the object itself, which speaks in messages as its class does."""

    def build() -> Any:
        return plugin

    build.__doc__ = plugin.__doc__
    build.__module__ = getattr(plugin, "__module__", None) or type(plugin).__module__
    return build


def texts_by_kind(**listed: Any) -> Mapping[str, Sequence[str]]:
    """By kind of plugin, the texts of methods, smoothers, detectors, attacks and guides."""
    registries = {
        "methods": plugins.method,
        "smoothers": plugins.smoother,
        "detectors": plugins.detector,
        "attacks": plugins.attack,
        "guides": plugins.guide,
    }
    return {registry.kind: texts_of(registry, listed.get(name)) for name, registry in registries.items()}
