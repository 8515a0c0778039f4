"""A model with settings, as users write it and records repeat it: ``my.pt:architecture=timm/resnet50,mean=0.5``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from harness import plugins
from harness.base.errors import HarnessError
from harness.models.preprocessing import Preprocessing
from harness.plugins.settings import START, changed, parse, spell


@dataclass(frozen=True)
class ModelText:
    """A model's name or path, and what is stated about it; empty fields are not stated.

    architecture: registered name, timm's or torchvision's; of a file without a header.
    mean, std: one number, or one for each channel, for images in [0, 1].
    image_size: side, or height and width. interpolation: see `Preprocessing`.
    classes: file with the names of the outputs, in their order.
    """

    name: str
    architecture: str = ""
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    image_size: tuple[int, ...] = ()
    interpolation: str = ""
    classes: str = ""

    @classmethod
    def of(cls, text: str) -> ModelText:
        """Parse ``NAME:key=value,key=value``; raises HarnessError for other keys.

        A file of the whole name is one. The settings of a registered plugin are its, and stay with its name.
        """
        start = START.search(text)
        if start is None or Path(text).exists() or plugin(text):
            return cls(text)
        return cls(text[: start.start()], **parse(text, text[start.end() :], SETTINGS, {}))

    @property
    def stated(self) -> list[str]:
        """Names of the settings that are stated."""
        return [name for name in changed(self) if name in SETTINGS]

    def __str__(self) -> str:
        """The canonical spelling: settings in a fixed order, one number for each channel."""
        settings = replace(self, mean=_three(self.mean), std=_three(self.std))
        spelled = [f"{name}={spell(getattr(settings, name))}" for name in self.stated]
        return ":".join([self.name, ",".join(spelled)] if spelled else [self.name])

    def with_defaults(self, options: Mapping[str, str]) -> ModelText:
        """The text with further settings where it does not state them. options: their texts by name."""
        more = {name: value for name, value in options.items() if name not in self.stated}
        settings = ",".join(f"{name}={value}" for name, value in more.items())
        return replace(self, **parse(f"{self.name}:{settings}", settings, SETTINGS, {}))

    @cached_property
    def preprocessing(self) -> Preprocessing:
        """Statements of the settings on images; raises HarnessError for numbers that cannot be meant."""
        size = self.image_size * 2 if len(self.image_size) == 1 else self.image_size
        try:
            return Preprocessing(
                mean=_three(self.mean) or None,
                std=_three(self.std) or None,
                image_size=size or None,  # type: ignore[arg-type]  # checked there
                interpolation=self.interpolation or None,
            )
        except HarnessError as error:
            raise HarnessError(f"Model {self.name!r}: {error}") from error


def plugin(text: str) -> plugins.Entry | None:
    """The registered model with settings that a text names, with or without them; None for any other."""
    entry = plugins.model.get(text.partition(":")[0])
    return entry if entry and entry.parameters else None


SETTINGS: Mapping[str, Any] = {
    "architecture": str,
    "mean": tuple[float, ...],
    "std": tuple[float, ...],
    "image_size": tuple[int, ...],
    "interpolation": str,
    "classes": str,
}
"""Types of the settings by name, in the canonical order."""


def _three(values: tuple[float, ...]) -> tuple[float, ...]:
    return values * 3 if len(values) == 1 else values
