"""Settings as users write them, ``name:key=value,key=value``, and as records repeat them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from math import isfinite
from typing import Any, get_args

from harness.base.errors import HarnessError, suggest

TUNE = "tune"
"""The value of a setting that is to be chosen on validation data."""
LARGEST = 2**63 - 1
"""Largest magnitude of a whole number: that of torch's and numpy's 64 bits."""

LONG = 8
"""Characters of a decimal number beyond which a fraction of 255 is easier to read."""

START = re.compile(r":(?=[A-Za-z_]+=)")
"""The colon between a name, which may hold colons itself, and its settings."""


def bare(text: str) -> str:
    """The name without its settings: ``my.pt`` of ``my.pt:architecture=timm/resnet50,mean=0.5``."""
    return START.split(text, maxsplit=1)[0]


def changed(plugin: Any) -> list[str]:
    """Names of the settings that differ from the class's own defaults."""
    if not is_dataclass(plugin):
        return []
    return [f.name for f in fields(plugin) if f.init and (f.default is MISSING or getattr(plugin, f.name) != f.default)]


def spell(value: Any) -> str:
    """The spelling of a value after the equals sign; levels of 8-bit images as people write them, 8/255."""
    if isinstance(value, tuple):
        return ",".join(map(spell, value))
    if not isinstance(value, float):
        return str(value)
    level = round(255 * value) if isfinite(value) else 0
    if 0 < level <= 255 and level / 255 == value and len(repr(value)) > LONG:
        return f"{level}/255"
    return repr(value).removesuffix(".0")


def split(settings: str) -> list[str]:
    """The settings of a text after the colon, one each: ``severity=1,2`` of ``severity=1,2,extra=true``."""
    return re.split(r",(?=\w+=)", settings)


def moved(suite: str, data: str) -> str:
    """The text of a suite with another folder of data; HarnessError for a suite that names none."""
    name, _, settings = suite.partition(":")
    parts = split(settings)
    if not any(part.startswith("data=") for part in parts):
        raise HarnessError(f"--data {data}: {suite} names no folder. Leave it out.")
    return f"{name}:" + ",".join(f"data={data}" if part.startswith("data=") else part for part in parts)


def parse(text: str, rest: str, parameters: Mapping[str, Any], sweep: Mapping[str, Sequence[Any]]) -> dict[str, Any]:
    """The values in `rest`, the part of `text` after the colon; a value may itself hold commas (``times=0,50``).

    A value without a key, at the start, belongs to the first parameter. parameters: their types. sweep: those that can
    be `TUNE`. Raises HarnessError for unknown keys, keys given twice and values of another type.
    """
    raw: dict[str, str] = {}
    key = ""
    for token in filter(None, rest.split(",")):
        head, equals, value = token.partition("=")
        if equals:
            key = head.strip()
            if key in raw:
                raise HarnessError(f"{text!r} sets {key!r} twice.")
            raw[key] = value
        elif key:
            raw[key] += "," + token
        elif parameters and head not in parameters:
            key = next(iter(parameters))
            raw[key] = token
        else:
            raise HarnessError(f"{text!r}: settings are written name:key=value,key=value.")
    for key in raw:
        if key not in parameters:
            raise suggest("setting", key, list(parameters), f" in {text!r}")
    return {
        key: TUNE if value == TUNE and key in sweep else _convert(text, key, value, parameters[key])
        for key, value in raw.items()
    }


def is_one_value(text: str) -> bool:
    """True for a text that stays one value among settings: ``a,b=c`` begins another one, and ``a,,b`` loses a comma."""
    try:
        return parse(text, f"value={text}", {"value": str}, {}) == {"value": text}
    except HarnessError:
        return False


def _convert(text: str, key: str, value: str, hint: Any) -> Any:
    try:
        if hint is bool:
            return {"true": True, "1": True, "false": False, "0": False}[value.lower()]
        if hint is str:
            return value
        if hint in (int, float):
            return _number(hint, value)
        if hint == tuple[str, ...]:
            return tuple(value.split(","))
        if hint in (tuple[int, ...], tuple[float, ...]):
            return tuple(_number(get_args(hint)[0], part) for part in value.split(","))
    except (ValueError, KeyError):
        kinds = {
            float: "float: give a finite number, such as 0.5 or 8/255",
            tuple[int, ...]: "list of ints, such as 1,2",
            tuple[float, ...]: "list of floats, such as 0.5,8/255",
        }
        kind = kinds.get(hint) or getattr(hint, "__name__", hint)
        raise HarnessError(f"{shown(text)}: {key}={shown(value)} is not a valid {kind}.") from None
    raise HarnessError(f"{shown(text)}: {key} cannot be set from the command line.")


def _number(kind: type[int] | type[float], text: str) -> int | float:
    """A finite number, a fraction such as 8/255 included; ValueError for others, and for whole ones beyond 64 bits."""
    numerator, slash, denominator = text.partition("/")
    value = float(numerator) / (float(denominator) or float("nan")) if slash and kind is float else kind(text)
    if not (-LARGEST <= value <= LARGEST if isinstance(value, int) else isfinite(value)):
        raise ValueError(text)
    return value


def shown(text: str) -> str:
    """A text in quotation marks, without its middle if it is long."""
    return repr(text if len(text) <= 200 else f"{text[:90]} ... {text[-90:]}")
