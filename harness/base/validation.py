"""Dataclasses from JSON values: every field is present, of the type that its hint names, and within its range."""

from __future__ import annotations

import math
import re
import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields, is_dataclass
from itertools import repeat
from typing import Any, Union, get_args, get_origin, get_type_hints, is_typeddict

from harness.base.errors import HarnessError

DEEPEST = 16
"""Levels of nesting at most in a value of no particular type."""

LONGEST = 2**22
"""Characters of a text at most."""

LARGEST_INTEGER = 2**63 - 1
"""Magnitude of an integer at most: that of 64 bits."""


@dataclass(frozen=True)
class Rule:
    """A range of values. words: what a value must be. holds: whether a value is."""

    words: str
    holds: Callable[[Any], bool]


def at_least(least: float) -> Rule:
    """Numbers not below `least`; None passes, too."""
    return Rule(f"at least {least:g}", lambda value: value is None or value >= least)


def between(least: float, most: float) -> Rule:
    """Numbers from `least` to `most`; None passes, too."""
    return Rule(f"from {least:g} to {most:g}", lambda value: value is None or least <= value <= most)


def among(*values: str) -> Rule:
    """One of these texts."""
    return Rule(f"one of {', '.join(values)}", lambda value: value in values)


def written(pattern: str, words: str) -> Rule:
    """Texts that match a pattern as a whole. words: the pattern in words, for messages."""
    return Rule(words, lambda value: re.fullmatch(pattern, value) is not None)


class Mismatch(ValueError):
    """A value of the wrong type or range. at: the parts of its place, outermost last."""

    def __init__(self, value: Any, wanted: str) -> None:
        super().__init__()
        self.at: list[str] = []
        self._fault = f"is {shown(value)}, not {wanted}" if wanted else str(value)

    def __str__(self) -> str:
        return f"{''.join(reversed(self.at)).lstrip('.') or 'it'} {self._fault}"


Read = Callable[[Any], Any]
"""From a JSON value to a checked one; raises Mismatch."""


class Reader:
    """Reads dataclasses, TypedDicts, tuples, mappings, plain types and their unions with None, by their hints.

    Numbers stay as they were written, sequences become tuples. A new field of a dataclass needs no change here.

    rules: ranges, by the names of dataclass and field: "Metric.n". strict: refuse fields that a dataclass lacks.
    """

    def __init__(self, rules: Mapping[str, Rule], strict: bool = True) -> None:
        self._rules, self._strict = rules, strict
        self._readers: dict[Any, Read] = {}

    def __call__(self, kind: Any, value: Any) -> Any:
        """A JSON value as a `kind`; raises Mismatch, a ValueError that names the place and what should be there."""
        return self._of(kind)(value)

    def _of(self, kind: Any) -> Read:
        if kind not in self._readers:
            self._readers[kind] = self._made(kind)
        return self._readers[kind]

    def _made(self, kind: Any) -> Read:
        origin, arguments = get_origin(kind), get_args(kind)
        if origin in (Union, types.UnionType):
            (some,) = (self._of(a) for a in arguments if a is not types.NoneType)
            return lambda value: None if value is None else some(value)
        if is_dataclass(kind) or is_typeddict(kind):
            return self._object(kind)
        if origin is Mapping:
            return _mapping(self._of(arguments[1]))
        if origin is Sequence or (origin is tuple and arguments[-1] is Ellipsis):
            return _sequence(self._of(arguments[0]))
        if origin is tuple:
            return _fixed([self._of(a) for a in arguments])
        return PLAIN[kind]

    def _object(self, kind: Any) -> Read:
        hints, needed = _fields(kind)
        readers = {name: self._of(hint) for name, hint in hints.items()}
        rules = {name: rule for name in hints if (rule := self._rules.get(f"{kind.__name__}.{name}"))}

        def read(value: Any) -> Any:
            _expect(isinstance(value, dict), value, "an object")
            if lacking := needed - value.keys():
                raise Mismatch(f"has no field {min(lacking)!r}", "")
            if self._strict and (unknown := value.keys() - readers.keys()):
                raise Mismatch(f"has a field {shown(min(unknown))} that this version does not know", "")
            arguments: dict[str, Any] = {}
            name = ""
            try:
                for name, read_field in readers.items():
                    if name in value:
                        arguments[name] = read_field(value[name])
            except Mismatch as mismatch:
                raise _placed(mismatch, f".{name}") from None
            for name, rule in rules.items():
                if name in arguments and not rule.holds(arguments[name]):
                    raise _placed(Mismatch(value[name], rule.words), f".{name}")
            try:
                return kind(**arguments)
            except HarnessError as error:
                raise Mismatch(f"says what cannot be: {error}", "") from error

        return read


def _placed(mismatch: Mismatch, place: str) -> Mismatch:
    """The mismatch, one step further out. Places are spelled for errors alone: a text per value would cost time."""
    mismatch.at.append(place)
    return mismatch


def _mapping(read: Read) -> Read:
    def of_mapping(value: Any) -> dict[str, Any]:
        _expect(isinstance(value, dict), value, "an object")
        values = {}
        key = ""
        try:
            for key, inner in value.items():
                values[key] = read(inner)
        except Mismatch as mismatch:
            raise _placed(mismatch, f"[{shown(key)}]") from None
        return values

    return of_mapping


def _sequence(read: Read) -> Read:
    def of_sequence(value: Any) -> tuple[Any, ...]:
        _expect(isinstance(value, list), value, "a list")
        return _items(repeat(read), value)

    return of_sequence


def _fixed(readers: Sequence[Read]) -> Read:
    wanted = f"a list of {len(readers)}"

    def of_fixed(value: Any) -> tuple[Any, ...]:
        _expect(isinstance(value, list) and len(value) == len(readers), value, wanted)
        return _items(readers, value)

    return of_fixed


def _items(readers: Iterable[Read], items: Sequence[Any]) -> tuple[Any, ...]:
    """The items of a list, each by the reader of its place."""
    values: list[Any] = []
    try:
        for read, item in zip(readers, items, strict=False):
            values.append(read(item))
    except Mismatch as mismatch:
        raise _placed(mismatch, f"[{len(values)}]") from None
    return tuple(values)


def _fields(kind: Any) -> tuple[dict[str, Any], frozenset[str]]:
    """Type hints of the fields that a file may hold, and the names of those that it must.

    Fields that do not compare are not stored.
    """
    hints = get_type_hints(kind)
    if is_typeddict(kind):
        return hints, frozenset(hints)
    stored = [f for f in fields(kind) if f.compare]
    needed = [f.name for f in stored if f.default is MISSING and f.default_factory is MISSING]
    return {f.name: hints[f.name] for f in stored}, frozenset(needed)


def _integer(value: Any) -> int:
    _expect(type(value) is int and abs(value) <= LARGEST_INTEGER, value, "an integer of 64 bits")
    return int(value)


def _number(value: Any) -> float:
    small = type(value) is int and abs(value) <= LARGEST_INTEGER
    _expect(small or (type(value) is float and math.isfinite(value)), value, "a finite number")
    number: float = value
    return number


def _text(value: Any) -> str:
    _expect(isinstance(value, str), value, "a text")
    if len(value) > LONGEST:
        raise Mismatch(value, f"a text of at most {LONGEST:,} characters")
    return str(value)


def _boolean(value: Any) -> bool:
    _expect(isinstance(value, bool), value, "true or false")
    return bool(value)


def _anything(value: Any, depth: int = 0) -> Any:
    """Any JSON value with finite numbers and no more than `DEEPEST` levels."""
    if depth > DEEPEST:
        raise Mismatch("is nested too deeply", "")
    if isinstance(value, dict | list):
        for inner in [*value, *value.values()] if isinstance(value, dict) else value:
            _anything(inner, depth + 1)
    elif type(value) in (int, float):
        _number(value)
    elif isinstance(value, str):
        _text(value)
    return value


PLAIN: Mapping[Any, Read] = {int: _integer, float: _number, str: _text, bool: _boolean, Any: _anything}
"""Readers of types without parts."""


def _expect(holds: bool, value: Any, wanted: str) -> None:
    if not holds:
        raise Mismatch(value, wanted)


def shown(value: Any, most: int = 60) -> str:
    """A value for a message: its first `most` characters; only the kind of lists and objects."""
    if isinstance(value, dict | list):
        return f"a list of {len(value)}" if isinstance(value, list) else "an object"
    if type(value) is int and abs(value) > LARGEST_INTEGER:
        return "a huge integer"
    text = repr(value)
    return text if len(text) <= most else f"{text[:most]}..."
