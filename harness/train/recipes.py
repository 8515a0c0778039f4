"""Published recipes: settings of `TrainSpec` in declarative files, with their source and expected accuracy.

A recipe is a TOML file in ``registry/recipes/`` or anywhere on disk: the fields of `Recipe`, and a table of settings.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, fields, replace
from importlib import resources
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

from harness.base.errors import suggest
from harness.base.files import read_limited
from harness.base.parsing import parse_toml
from harness.train.defaults import OPEN, pinned
from harness.train.spec import TrainSpec, options
from harness.types import HarnessError

SETTABLE = {"model", *options()}
"""Settings that a recipe may make."""

LIMIT = 2**16
"""Largest size of a recipe in bytes."""

SPELT = {dict: "table", list: "list", str: "text"}
"""Names of types in messages."""


@dataclass(frozen=True)
class Recipe:
    """Published settings of a training.

    about: one line. source: place of publication. expected: the number reached there.
    measured: the number reached here, or a word that it was not tried. notes: differences of this trainer.
    needs: settings that must be given with it. like: the recipe whose settings and needs it starts from, by name or
        as a path relative to this file.
    """

    name: str
    about: str
    settings: Mapping[str, Any]
    source: str = ""
    expected: str = ""
    measured: str = ""
    notes: str = ""
    needs: Sequence[str] = ()
    like: str = ""

    @property
    def remarks(self) -> Sequence[str]:
        """Source, expected and measured numbers and notes, line by line."""
        facts = [("Source", self.source), ("Expected", self.expected), ("Measured", self.measured)]
        return [*(f"{what}: {text}." for what, text in facts if text), *filter(None, [self.notes])]

    @property
    def command(self) -> str:
        """Command that trains it."""
        return f"harness train --recipe {self.name} --data DIR"


def names() -> list[str]:
    """The recipes that come with the project."""
    folder = resources.files("harness.registry.recipes")
    return sorted(file.name.removesuffix(".toml") for file in folder.iterdir() if file.name.endswith(".toml"))


def load(name: str, above: tuple[str, ...] = ()) -> Recipe:
    """A recipe by name or path; raises HarnessError for one that does not exist or has invalid settings.

    above: recipes that start from this one. A file's path in `like` is relative to the file that says it.
    """
    recipe = _read(name)
    if not recipe.like:
        return recipe
    base = recipe.like
    if base.endswith(".toml") and name.endswith(".toml"):
        base = str(Path(name).parent / base)
    if os.path.realpath(base) in map(os.path.realpath, (name, *above)):
        raise HarnessError(f"The recipe {name!r} is like {base!r}, which starts from {name!r}. Fix one `like`.")
    try:
        parent = load(base, (*above, name))
    except HarnessError as error:
        raise error if above else HarnessError(f"The recipe {name!r} is like {recipe.like!r}: {error}") from error
    needs = list(dict.fromkeys([*parent.needs, *recipe.needs]))
    return replace(recipe, settings={**parent.settings, **recipe.settings}, needs=needs)


def completing(recipe: Recipe, model: str, dataset: str) -> Mapping[str, Any]:
    """Settings that a recipe leaves open, and that must not come from the recipe of the data set.

    A recipe with its own learning rate is published as it stands, so the trainer's defaults complete it. Empty where
    the architecture states a recipe for this data set, which completes it then.
    """
    if "lr" not in recipe.settings or pinned(model, dataset):
        return {}
    usual = {**{name: value for name, value in OPEN.items() if value is not None}, "augment": "none"}
    return {name: value for name, value in usual.items() if name not in recipe.settings}


def _read(name: str) -> Recipe:
    """The recipe of one file, checked."""
    if name.endswith(".toml"):
        try:
            text = read_limited(Path(name), LIMIT).decode()
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or error
            raise HarnessError(f"--recipe {name}: {reason}. Give a name or the path of a TOML file.") from error
    elif name in names():
        text = resources.files("harness.registry.recipes").joinpath(f"{name}.toml").read_text()
    else:
        raise suggest("recipe", name, names())
    try:
        content = parse_toml(text)
    except ValueError as error:
        raise HarnessError(f"--recipe {name} is not in TOML: {error}.") from error
    _check(name, content)
    return Recipe(Path(name).stem if name.endswith(".toml") else name, **content)


def _check(name: str, content: Mapping[str, Any]) -> None:
    facts = {f.name: f for f in fields(Recipe) if f.name != "name"}
    if misplaced := [key for key in content if key in SETTABLE]:
        raise HarnessError(f"The recipe {name!r} says {', '.join(misplaced)} above the line [settings]. Move it below.")
    if strange := [key for key in content if key not in facts]:
        raise suggest("word", strange[0], list(facts), f" in the recipe {name!r}")
    if lacking := [key for key, fact in facts.items() if fact.default is MISSING and key not in content]:
        raise HarnessError(
            f'The recipe {name!r} does not say its {", ".join(lacking)}: it needs a line about = "..." '
            "and a table [settings]."
        )
    for key, value in content.items():
        wanted = {"settings": dict, "needs": list}.get(key, str)
        if not isinstance(value, wanted):
            raise HarnessError(f"The recipe {name!r} says {key} = {value!r}, which must be a {SPELT[wanted]}.")
    for key in (*content["settings"], *content.get("needs", ())):
        if not isinstance(key, str) or key not in SETTABLE:
            raise suggest("setting", str(key), sorted(SETTABLE), f" in the recipe {name!r}")
    for key, value in content["settings"].items():
        if not _fits(key, value):
            raise HarnessError(f"The recipe {name!r} sets {key} to {value!r}, of the wrong type.")


def _fits(key: str, value: Any) -> bool:
    """True for a TOML value of the setting's type; a whole number will do for a fraction."""
    wanted = get_type_hints(TrainSpec)[key]
    kinds = get_args(wanted) or (wanted,)
    if get_origin(wanted) is tuple:
        return isinstance(value, list) and all(isinstance(item, kinds[0]) for item in value)
    if float in kinds:
        kinds += (int,)
    return isinstance(value, kinds) and (bool in kinds or not isinstance(value, bool))
