"""The registry of suites: facts that the decorator gives become class attributes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from harness.base.errors import suggest
from harness.plugins.registry import F, Registry


class SuiteRegistry(Registry):
    """All suites. The decorator's name and facts become class attributes: ``@suite("mine", version=2, dataset="x")``.

    A class may state them itself as class attributes; those that the decorator gives come before these.
    """

    FACTS = ("version", "dataset", "denoiser", "every")
    """See `harness.types.Suite`."""

    def __call__(self, name: str, **facts: Any) -> Callable[[F], F]:
        """The decorator of a suite's class. facts: some of `FACTS`."""
        if unknown := facts.keys() - set(self.FACTS):
            raise suggest("fact", min(unknown), list(self.FACTS), f" of @suite({name!r})")
        register = super().__call__(name, **facts)

        def decorate(build: F) -> F:
            if isinstance(build, type):
                named = {} if "name" in vars(build) else {"name": name}
                for key, value in {**facts, **named, **_shown(build)}.items():
                    setattr(build, key, value)
            return register(build)

        return decorate


def _shown(suite: type) -> dict[str, Any]:
    """The attribute `shown` of a suite that gives it by its former name, `columns`; nothing for others."""
    owner = next((c for c in suite.__mro__ if vars(c).keys() & {"shown", "columns"}), None)
    return {} if owner is None or "shown" in vars(owner) else {"shown": vars(owner)["columns"]}
