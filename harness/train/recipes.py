"""Published recipes: settings of `TrainSpec` in declarative files, with their source and what they should reach.

A recipe is a TOML file in ``registry/recipes/`` or anywhere on disk: what `Recipe` says of it, and a table of settings.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

from harness.plugins import suggest
from harness.train.spec import TrainSpec, options
from harness.types import HarnessError

SETTABLE = {"model", *options()}


@dataclass(frozen=True)
class Recipe:
    """How somebody trained something.

    about: in one line. source: where it is published. expected: the number that it reached there.
    measured: what it reached here, or that nobody has tried. notes: where this trainer does it differently.
    needs: settings that must be given beside it. like: another recipe, whose settings and needs it starts from.
    """

    name: str
    about: str
    source: str
    expected: str
    measured: str
    settings: Mapping[str, Any]
    notes: str = ""
    needs: Sequence[str] = ()
    like: str = ""

    @property
    def command(self) -> str:
        """What trains it."""
        return f"harness train --recipe {self.name} --data DIR"


def names() -> list[str]:
    """The recipes that come with the project."""
    folder = resources.files("harness.registry.recipes")
    return sorted(file.name.removesuffix(".toml") for file in folder.iterdir() if file.name.endswith(".toml"))


def load(name: str) -> Recipe:
    """A recipe by name or path; raises HarnessError for one that does not exist or says something it cannot mean."""
    if name.endswith(".toml"):
        try:
            text = Path(name).read_text()
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or error
            raise HarnessError(f"--recipe {name}: {reason}. Give a name or the path of a TOML file.") from error
    elif name in names():
        text = resources.files("harness.registry.recipes").joinpath(f"{name}.toml").read_text()
    else:
        raise suggest("recipe", name, names())
    try:
        told = tomllib.loads(text)
        recipe = Recipe(Path(name).stem if name.endswith(".toml") else name, **told)
        if not isinstance(recipe.settings, dict):
            raise TypeError("its settings are no table")
    except (tomllib.TOMLDecodeError, TypeError) as error:
        raise HarnessError(
            f"--recipe {name} is no recipe: {error}. See registry/recipes/ for what one says."
        ) from error
    for key in recipe.settings:
        if key not in SETTABLE:
            raise suggest("setting", key, sorted(SETTABLE), f" in the recipe {name!r}")
        if not _fits(key, recipe.settings[key]):
            raise HarnessError(f"The recipe {name!r} sets {key} to {recipe.settings[key]!r}, of the wrong type.")
    if not recipe.like:
        return recipe
    base = load(recipe.like)
    return replace(recipe, settings={**base.settings, **recipe.settings}, needs=[*base.needs, *recipe.needs])


def _fits(key: str, value: Any) -> bool:
    """Whether a TOML value is of the setting's type; a whole number will do for a fraction."""
    wanted = get_type_hints(TrainSpec)[key]
    kinds = get_args(wanted) or (wanted,)
    if get_origin(wanted) is tuple:
        return isinstance(value, list) and all(isinstance(item, kinds[0]) for item in value)
    if float in kinds:
        kinds += (int,)
    return isinstance(value, kinds) and (bool in kinds or not isinstance(value, bool))
