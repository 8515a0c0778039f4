"""Plugin files that a record or a card names."""

from __future__ import annotations

from collections.abc import Mapping

from harness import plugins
from harness.base.errors import HarnessError
from harness.types.weights import LIVE


def check_loaded(who: str, origins: Mapping[str, str]) -> None:
    """Raise HarnessError where a plugin file is not loaded, or is another one now.

    origins: "FILE SHA256" by kind of plugin; a smoother under a method has two files and one joint hash.
    """
    registries = [value for value in vars(plugins).values() if isinstance(value, plugins.Registry)]
    entries = [entry for registry in registries for entry in registry.entries()]
    loaded = {entry.origin.name: entry.source for entry in entries if entry.origin.name}
    for kind, text in origins.items():
        names, _, sha256 = text.rpartition(" ")
        if LIVE in names:
            raise HarnessError(f"{who}: its {kind} was a {names}, which has no file. Repeat the call from Python.")
        parts = [names] if names in loaded else names.split()
        for name in parts:
            if name not in loaded:
                raise HarnessError(
                    f"{who}: its {kind} comes from {name} (SHA-256 {sha256[:12]}...), which is not loaded. "
                    f"Give the file: --plugin {name}."
                )
            if loaded[name] not in sha256:
                raise HarnessError(
                    f"{who}: its {kind} comes from {name} with SHA-256 {sha256[:12]}..., and the one loaded has "
                    f"{loaded[name][:12]}.... Give the file that was used then."
                )
