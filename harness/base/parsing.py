"""JSON and TOML from files that anyone may have written, parsed within bounds."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable, Iterator
from functools import partial
from math import isfinite
from typing import Any

NESTED = 100
"""Levels of lists and objects in text that is parsed; records have 6."""


def parse_json(text: str | bytes) -> Any:
    """The value of a JSON text; ValueError for any fault, a repeated name and nesting beyond the stack included."""
    return _parsed(partial(json.loads, object_pairs_hook=_without_doubles), text)


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object's values by name; ValueError for a repeated name, whose value would be ambiguous."""
    values = dict(pairs)
    if len(values) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"{next(name for name in names if names.count(name) > 1)!r} stands there twice")
    return values


def parse_number(text: str) -> float:
    """The number of a text, which may be a fraction such as 8/255; ValueError for others."""
    numerator, _, denominator = text.partition("/")
    try:
        value = float(numerator) / float(denominator or "1")
    except (ValueError, ZeroDivisionError) as error:
        raise ValueError(f"{text!r} is no number, such as 0.03, and no fraction, such as 8/255") from error
    if not isfinite(value):
        raise ValueError(f"{text!r} is not finite")
    return value


def parse_toml(text: str) -> dict[str, Any]:
    """The table of a TOML text; ValueError for any fault, integers of more than 64 bits included, as TOML demands."""
    table: dict[str, Any] = _parsed(tomllib.loads, text)
    if any(isinstance(value, int) and not -(2**63) <= value < 2**63 for value in _values(table)):
        raise ValueError("an integer has more than 64 bits")
    return table


def _parsed(parse: Callable[[Any], Any], text: str | bytes) -> Any:
    try:
        parsed = parse(text)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    except ValueError as error:
        if "set_int_max_str_digits" in str(error):  # Python's advice, which is not the reader's
            raise ValueError("a number has thousands of digits") from error
        raise
    for _ in _values(parsed):  # which raises for what would exhaust the stack wherever it is shown
        pass
    return parsed


def _values(parsed: Any) -> Iterator[Any]:
    """All values but lists and dicts in parsed text; ValueError for these nested more than `NESTED` deep."""
    waiting = [(0, parsed)]
    while waiting:
        depth, held = waiting.pop()
        if depth > NESTED:
            raise ValueError("it is nested too deeply")
        if isinstance(held, dict | list):
            waiting += [(depth + 1, value) for value in (held.values() if isinstance(held, dict) else held)]
        else:
            yield held
