"""Flags of guided-diffusion's networks, from settings or from a JSON file beside the checkpoint."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, ClassVar, Self

from harness.base.files import check_regular, read_limited
from harness.base.parsing import parse_json
from harness.types import HarnessError

MULTIPLIERS = {32: "1,2,2,2", 64: "1,2,3,4", 128: "1,1,2,3,4", 256: "1,1,2,2,4,4"}
"""The `channel_mult` that an empty one means, by image size; 32 is improved-diffusion's."""
LEVELS = 12
"""Largest number of levels. Each halves the side, and no image has a side of 2^12 times the smallest."""
GROUPS = 32
"""Groups of every group norm."""


class Flags:
    """Base of the flags of one kind of network: a frozen dataclass whose fields all have defaults.

    network: its name in messages. usage: setting that names a file of its, {}, and some flags.
    required: flags convertible at one value only, with that value.
    inert: flags of training, sampling and storage, which do not change the network.
    """

    network: ClassVar[str]
    usage: ClassVar[str]
    required: ClassVar[Mapping[str, Any]]
    inert: ClassVar[Collection[str]]

    @classmethod
    def from_mapping(cls, flags: Mapping[str, Any]) -> Self:
        """Flags by name, others at their defaults; those that do not change the network are skipped."""
        types = {field.name: type(field.default) for field in fields(cls)}  # type: ignore[arg-type]  # see the class
        for name, value in flags.items():
            if name not in {*types, *cls.inert, *cls.required}:
                known = ", ".join(sorted(types))
                raise HarnessError(f"{name!r} is not a flag of guided-diffusion's {cls.network}. Known: {known}.")
            if name in types and type(value) is not types[name]:
                raise HarnessError(f"ADM flag {name}={value!r} must be of type {types[name].__name__}.")
            if cls.required.get(name, value) != value:
                raise inconvertible(f"{name}={value!r}", str(cls.required[name]))
        return cls(**{name: value for name, value in flags.items() if name in types})

    @classmethod
    def beside(cls, path: Path) -> Self:
        """The flags of ``X.pt``, from the JSON object in ``X.json``; raises HarnessError without that file."""
        file = path.with_suffix(".json")
        if not path.exists():
            raise HarnessError(f"No checkpoint at {path}. Give the path of an existing one.")
        check_regular(path)
        if not file.exists():
            raise HarnessError(
                f"{path} does not say what network it holds. Put guided-diffusion's flags into {file}, as a JSON "
                f"object, or name them: {cls.usage.format(path)}."
            )
        return cls._stated(file)[0]

    @classmethod
    def _stated(cls, file: Path) -> tuple[Self, dict[str, Any]]:
        """The flags in a JSON file, checked and as they are written; raises HarnessError that names the file."""
        stated = written(file)
        try:
            return cls.from_mapping(stated), stated
        except HarnessError as error:
            raise HarnessError(f"{file}: {error}") from error

    @classmethod
    def of(cls, path: Path, settings: Mapping[str, Any]) -> tuple[Self, Sequence[Path]]:
        """The flags of a checkpoint, from settings and the JSON file beside it; and that file, if it exists.

        Raises HarnessError if the two contradict each other.
        """
        file = path.with_suffix(".json")
        if not file.exists():
            return cls(**settings), []
        _, stated = cls._stated(file)
        different = [name for name in settings if stated.get(name, settings[name]) != settings[name]]
        if different:
            each = (f"{name}={stated[name]} there, {name}={settings[name]} as a setting" for name in different)
            raise HarnessError(
                f"{file} describes {path.name} with other flags: {'; '.join(each)}. Leave the settings out, or correct "
                "the file."
            )
        return cls.from_mapping({**stated, **settings}), [file]


def inconvertible(setting: str, convertible: str) -> HarnessError:
    """The error for a flag at a value with which no network of diffusers' blocks equals the original's."""
    return HarnessError(f"Cannot convert an ADM checkpoint with {setting} to diffusers' blocks, only {convertible}.")


def integers(flag: str, text: str) -> tuple[int, ...]:
    """The positive integers of a comma-separated text; raises HarnessError for another one."""
    try:
        numbers = tuple(int(part) for part in text.split(",") if part)
    except ValueError:
        numbers = (0,)
    if min(numbers, default=1) < 1:
        raise HarnessError(f"ADM flag {flag}={text!r} is not a comma-separated list of positive integers.")
    return numbers


def attended(image_size: int, sides: Sequence[int], levels: int) -> tuple[bool, ...]:
    """True for each level with attention, finest first; `sides` of feature maps are those of images of that size."""
    factors = {image_size // side for side in sides}
    return tuple(2**level in factors for level in range(levels))


def written(file: Path) -> dict[str, Any]:
    """The flags in a JSON file."""
    try:
        return dict(parse_json(read_limited(file)))
    except (ValueError, TypeError) as error:
        raise HarnessError(f"{file} is not a JSON object of flags ({error}).") from error
