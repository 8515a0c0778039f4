"""Options of a command that are the fields of dataclasses: of a specification, or of options that belong together."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import MISSING, Field, fields, is_dataclass
from enum import Enum, StrEnum
from functools import wraps
from typing import Annotated, Any, Generic, TypeVar, get_args, get_origin, get_type_hints

import typer

from harness.base.errors import HarnessError

Spec = TypeVar("Spec")


class Settings(dict[str, Any], Generic[Spec]):
    """Values of a specification's options, by field: from the command line, or the option's default."""


def with_settings(command: Callable[..., None]) -> Callable[..., None]:
    """The command with options in place of each parameter that stands for several options.

    A parameter of type ``Settings[Spec]`` stands for an option per field of the dataclass `Spec` that has a help text
    in its metadata. A parameter whose type is a dataclass stands for an option per field, declared as typer declares
    them; the command receives the dataclass.

    Metadata of a specification's field: help and panel (texts of ``--help``), min and max (limits of a number), flag
    (the option, if not the field's name), unset (value where the option is not given, if not the field's default),
    choices (allowed texts), several (the option is repeatable though the field holds one value), show_default.
    """
    hints = get_type_hints(command, include_extras=True)
    parameters: list[inspect.Parameter] = []
    groups: dict[str, Sequence[str]] = {}
    for parameter in inspect.signature(command).parameters.values():
        hint = hints[parameter.name]
        if get_origin(hint) is Settings:
            options = _options_of(get_args(hint)[0])
        elif is_dataclass(hint):
            options = _declared(hint)
        else:
            default = parameter.default
            parameters.append(parameter.replace(annotation=hint, kind=parameter.KEYWORD_ONLY, default=default))
            continue
        groups[parameter.name] = [option.name for option in options]
        parameters += options

    @wraps(command)
    def expanded(**values: Any) -> None:
        for name, options in groups.items():
            own = {option: values.pop(option) for option in options}
            spec = next(iter(get_args(hints[name])), None)
            values[name] = hints[name](**own) if spec is None else Settings(_plain(spec, own))
        command(**values)

    expanded.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    expanded.__annotations__ = {p.name: p.annotation for p in parameters}
    return expanded


def flag(setting: Field[Any]) -> str:
    """The option of a field: ``--batch-size``."""
    return str(setting.metadata.get("flag", f"--{setting.name.replace('_', '-')}"))


def _declared(group: Any) -> list[inspect.Parameter]:
    """A parameter per field of a dataclass whose types are typer's."""
    types = get_type_hints(group, include_extras=True)
    kind = inspect.Parameter.KEYWORD_ONLY
    return [inspect.Parameter(f.name, kind, default=_default(f), annotation=types[f.name]) for f in fields(group)]


def _default(setting: Field[Any]) -> Any:
    return setting.default if setting.default_factory is MISSING else setting.default_factory()


def _options_of(spec: type) -> list[inspect.Parameter]:
    """A parameter per field of a specification that is an option."""
    types = get_type_hints(spec)
    return [_option_of(setting, types[setting.name]) for setting in _optional(spec)]


def _optional(spec: Any) -> list[Field[Any]]:
    return [setting for setting in fields(spec) if "help" in setting.metadata]


def _option_of(setting: Field[Any], kind: Any) -> inspect.Parameter:
    metadata = setting.metadata
    several = metadata.get("several") or kind == tuple[str, ...]
    default = [] if several else metadata.get("unset", setting.default)
    if isinstance(default, tuple):
        default = ",".join(map(str, default))
    limits = {limit: metadata[limit] for limit in ("min", "max") if limit in metadata}
    option = typer.Option(
        flag(setting),
        help=metadata["help"],
        rich_help_panel=metadata["panel"],
        show_default=metadata.get("show_default", bool(default)),
        **limits,
    )
    if several:
        kind = list[str]
    elif isinstance(setting.default, tuple):
        kind = str
    elif "choices" in metadata:
        kind = _choice(setting.name, metadata["choices"])
    annotation = Annotated[kind, option]
    return inspect.Parameter(setting.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def _choice(name: str, values: Sequence[str]) -> Any:
    """An enumeration of texts, which typer offers as the values of an option."""
    make: Any = StrEnum
    return make(name, {value: value for value in values})


def _plain(spec: Any, values: dict[str, Any]) -> dict[str, Any]:
    """Values of options as the fields of a specification hold them."""
    return {setting.name: _value(setting, values[setting.name]) for setting in _optional(spec)}


def _value(setting: Field[Any], value: Any) -> Any:
    if isinstance(setting.default, tuple) and isinstance(value, str):
        try:
            return tuple(int(part) for part in value.split(","))
        except ValueError:
            raise HarnessError(f"{flag(setting)} {value!r}: give whole numbers with a comma, such as 0,500.") from None
    if isinstance(value, Enum):
        return value.value
    return tuple(value) if isinstance(value, list) else value
