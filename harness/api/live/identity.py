"""Identity of objects that exist in Python alone: a hash of their code and of everything that they hold.

The code is that of the functions that Python runs, not the text of a file, which may have changed since, and which a
notebook does not have. Code of installed packages is known by its name alone.
"""

from __future__ import annotations

import dis
import functools
import hashlib
import os
import pickle
import sys
import types
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor, nn

from harness.api.live.state import state_of
from harness.models.fingerprint import content, fingerprint

SIMPLE = (bool, int, float, complex, str, bytes, type(None), type(Ellipsis), range, slice, Path)
"""Types whose spelling says everything."""

UNSEEN = {"__init__", "__repr__", "__eq__", "__hash__", "__setattr__", "__delattr__", "__replace__"}
"""Methods that a dataclass writes itself, from its fields."""

PACKAGES = {"site-packages", "dist-packages"}
"""Folders of installed packages."""


def identity_of(thing: Any) -> tuple[str, list[str]]:
    """SHA-256 of an object's code and contents, and the names of the types in it that cannot be hashed.

    With one of these the hash is another one each time, so that no earlier result is taken for this object's.
    """
    walk = _Walk()
    walk.add_safely(thing)
    return walk.result()


def identity_of_state(network: nn.Module) -> tuple[str, list[str]]:
    """The same of a network's hooks, callables, text and configurations: all that its fingerprint does not cover."""
    walk = _Walk()
    walk.add_safely(network, walk.add_state)
    return walk.result()


def code_of(network: nn.Module) -> str:
    """SHA-256 of the code of those classes in a network that no installed package has; empty if there are none."""
    classes = {type(module) for module in network.modules()}
    own = [cls for cls in classes if _is_own(cls)]
    walk = _Walk()
    for cls in sorted(own, key=lambda cls: cls.__qualname__):
        walk.add(cls)
    return walk.digest.hexdigest() if own else ""


def _is_own(code: Any) -> bool:
    """True for a class, function or module that comes neither from Python, an installed package nor the harness."""
    name = getattr(code, "__name__" if isinstance(code, types.ModuleType) else "__module__", None) or ""
    if name == "__main__":  # a script or a notebook, whatever file started it
        return True
    top = name.partition(".")[0]
    if top in ("harness", "builtins") or top in sys.stdlib_module_names:
        return False
    file = getattr(sys.modules.get(name), "__file__", None) or ""
    return not PACKAGES & set(Path(file).parts)


class _Walk:
    """Walks through an object and all that it refers to, and hashes it."""

    def __init__(self) -> None:
        self.digest = hashlib.sha256()
        self.unhashed: list[str] = []
        self._seen: dict[int, tuple[int, Any]] = {}  # the objects, too: an id may be given again after one is gone

    def result(self) -> tuple[str, list[str]]:
        """See `identity_of`."""
        if self.unhashed:
            self.digest.update(os.urandom(16))
        return self.digest.hexdigest(), list(dict.fromkeys(self.unhashed))

    def add_safely(self, value: Any, add: Callable[[Any], None] | None = None) -> None:
        """Hash one object, however deeply it is nested."""
        try:
            (add or self.add)(value)
        except RecursionError:
            self.unhashed.append(f"{type(value).__qualname__}, which is nested too deeply")

    def add_state(self, network: nn.Module) -> None:
        """Hash a network beside its tensors. Attributes that refer to its own layers name them by their places."""
        for module in network.modules():
            self._seen.setdefault(id(module), (len(self._seen), module))
        try:
            for name, value in state_of(network):
                self._tell(name)
                self.add(value)
        except RuntimeError as error:
            if isinstance(error, RecursionError):
                raise
            self.unhashed.append(f"TorchScript ({error})"[:100])

    def add(self, value: Any) -> None:
        """Hash one more object."""
        if isinstance(value, SIMPLE):
            self._tell(f"{type(value).__name__} {value!r}")
            return
        if id(value) in self._seen:
            self._tell(f"again {self._seen[id(value)][0]}")
            return
        self._seen[id(value)] = len(self._seen), value
        if isinstance(value, Tensor | np.ndarray) and not (isinstance(value, np.ndarray) and value.dtype.hasobject):
            self.digest.update(content("tensor", value))
        elif isinstance(value, nn.Module):
            self._tell(f"network {fingerprint(value, code_of(value))}")
            self.add_state(value)
        elif isinstance(value, type):
            self._class(value)
        elif isinstance(value, types.ModuleType):
            self._module(value)
        elif isinstance(value, types.CodeType):
            self._code(value)
        elif callable(value) and hasattr(value, "__qualname__") and not (_is_bound(value) or _is_own(value)):
            self._tell(f"code {value.__module__} {value.__qualname__}")
        else:
            self._parts(value)

    def _tell(self, text: str) -> None:
        self.digest.update(f"{text}\n".encode(errors="surrogateescape"))

    def _parts(self, value: Any) -> None:
        """Hash what an object consists of."""
        parts = list(_parts_of(value))
        if not parts:
            parts = [("pickled", self._pickled(value))]
        self._tell(f"{type(value).__name__} of {len(parts)}")
        for name, part in parts:
            self._tell(name)
            self.add(part)

    def _pickled(self, value: Any) -> bytes:
        try:
            return pickle.dumps(value, protocol=4)
        except Exception:  # whatever an object raises that cannot be stored: a lock, an open file
            self.unhashed.append(type(value).__qualname__)
            return b""

    def _module(self, module: types.ModuleType) -> None:
        """Hash a module that code refers to as a whole: by its name, and by its file if no package installed it."""
        self._tell(f"module {module.__name__}")
        if _is_own(module):
            try:
                self.digest.update(Path(module.__file__ or "").read_bytes())
            except OSError:  # a module without a file
                self.unhashed.append(f"module {module.__name__}")

    def _class(self, cls: type) -> None:
        for base in cls.__mro__:
            self._tell(
                f"class {base.__qualname__}" if _is_own(base) else f"class {base.__module__} {base.__qualname__}"
            )
            for name, member in sorted(vars(base).items()) if _is_own(base) else ():
                if _counts(base, name, member):
                    self._tell(name)
                    self.add(member)

    def _code(self, code: types.CodeType) -> None:
        self.digest.update(code.co_code)
        self._tell(f"{code.co_names} {code.co_varnames} {code.co_freevars} {code.co_flags}")
        for constant in code.co_consts:
            self.add(constant)


def _is_bound(value: Any) -> bool:
    """True for the method of an object, which computes with what the object holds."""
    return isinstance(value, types.MethodType) and not isinstance(value.__self__, type | types.ModuleType)


def _counts(cls: type, name: str, member: Any) -> bool:
    """True for a member of a class that its author wrote."""
    if hasattr(cls, "__dataclass_fields__") and name in UNSEEN:
        return getattr(getattr(member, "__code__", None), "co_filename", "<string>") != "<string>"
    dunder = name.startswith("__") and name.endswith("__")
    return (not dunder or callable(member)) and not name.startswith("_abc_") and not isinstance(member, _Slot)


_Slot = types.MemberDescriptorType | types.GetSetDescriptorType


def _parts_of(value: Any) -> Iterator[tuple[str, Any]]:
    """By name, the parts of an object; nothing for one that only pickle can take apart."""
    if isinstance(value, Mapping):
        for key, item in sorted(value.items(), key=lambda pair: repr(pair[0])):
            yield repr(key), item
    elif isinstance(value, list | tuple):
        yield from ((str(place), item) for place, item in enumerate(value))
    elif isinstance(value, set | frozenset):
        yield "set", sorted(map(repr, value))
    elif isinstance(value, types.FunctionType):
        yield from _parts_of_function(value)
    elif isinstance(value, types.MethodType):
        yield from (("self", value.__self__), ("function", value.__func__))
    elif isinstance(value, staticmethod | classmethod):
        yield "function", value.__func__
    elif isinstance(value, property):
        yield from (("get", value.fget), ("set", value.fset))
    elif isinstance(value, functools.cached_property):
        yield "function", value.func
    elif isinstance(value, functools.partial):
        yield from (("function", value.func), ("arguments", value.args), ("keywords", value.keywords))
    elif hasattr(value, "__wrapped__"):
        yield "wrapped", value.__wrapped__
    elif _is_own(type(value)) or _is_plain(value):
        yield "class", type(value)
        names = [slot for base in type(value).__mro__ for slot in vars(base).get("__slots__", ())]
        members = {**{name: getattr(value, name, None) for name in names}, **getattr(value, "__dict__", {})}
        yield from sorted(members.items())


def _is_plain(value: Any) -> bool:
    """True for an object that consists of its attributes, such as a configuration."""
    cls = type(value)
    storing = (cls.__reduce_ex__, cls.__reduce__, getattr(cls, "__getstate__", None))
    usual = (object.__reduce_ex__, object.__reduce__, getattr(object, "__getstate__", None))
    return bool(getattr(value, "__dict__", {})) and storing == usual


def _parts_of_function(function: types.FunctionType) -> Iterator[tuple[str, Any]]:
    """Code, defaults and closure of a function, and the globals that its code names."""
    yield from (("code", function.__code__), ("defaults", function.__defaults__), ("keywords", function.__kwdefaults__))
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            yield name, cell.cell_contents
        except ValueError:  # a variable that has no value yet
            yield name, None
    for name in sorted(_names(function.__code__)):
        yield from _named(name, function.__globals__)
    imported = {str(step.argval) for step in dis.get_instructions(function.__code__) if step.opname == "IMPORT_NAME"}
    yield from ((name, sys.modules[name]) for name in sorted(imported & sys.modules.keys()))


def _named(name: str, scope: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """The object behind a name such as ``mylib.score``; nothing for names that mean nothing yet.

    Of the user's own modules the attribute counts, of all other objects the object itself.
    """
    first, *attributes = name.split(".")
    if first not in scope:
        return
    thing = scope[first]
    for attribute in attributes:
        if not (isinstance(thing, types.ModuleType) and _is_own(thing) and hasattr(thing, attribute)):
            break
        thing = getattr(thing, attribute)
    yield name, thing


def _names(code: types.CodeType) -> set[str]:
    """Names of globals, with the attributes taken from them, in a piece of code and in the functions inside of it."""
    names: list[str] = []
    goes_on = False
    for step in dis.get_instructions(code):
        if step.opname in ("LOAD_GLOBAL", "LOAD_NAME"):
            names.append(str(step.argval))
            goes_on = True
        elif goes_on and step.opname in ("LOAD_ATTR", "LOAD_METHOD"):
            names[-1] = f"{names[-1]}.{step.argval}"
        else:
            goes_on = False
    return set(names).union(*(_names(inner) for inner in code.co_consts if isinstance(inner, types.CodeType)))
