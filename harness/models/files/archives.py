"""Check files of ``torch.save`` before anything in them is unpacked, allocated or built.

The author of a file decides its claims: members larger than the file, tensors larger than their bytes, tuples whose
hashing never ends. Nothing here runs or allocates anything on a file's demand.
"""

from __future__ import annotations

import pickletools
import re
import struct
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from io import BytesIO
from math import prod
from pathlib import Path
from typing import IO, Any

DIRECTORY = 32 * 2**20
"""Largest list of an archive's members, in bytes: about 400,000 of them."""
PICKLED = 64 * 2**20
"""Largest pickle beside the numbers, in bytes."""
OPERATIONS = 5_000_000
"""Largest number of a pickle's steps: 100,000 tensors take 45 each, and each step may cost 200 bytes."""
TUPLE_DEPTH = 32
"""Largest number of levels of a tuple, which its hash descends."""
TUPLE_WEIGHT = 100_000
"""Largest number of leaves of a tuple, shared ones counted each time, as its hash visits them."""
EXPANDED = 2**20
"""Elements that a view may show beyond the stored ones, as an expanded buffer of a network does."""
BYTES = {
    **dict.fromkeys(("Double", "Long", "ComplexFloat", "UInt64"), 8),
    **dict.fromkeys(("Float", "Int", "QInt32", "UInt32"), 4),
    **dict.fromkeys(("Half", "BFloat16", "Short", "UInt16"), 2),
    "ComplexDouble": 16,
}
"""Bytes of an element by the first part of its storage's class; 1 for others."""
MAGIC = 0x1950A86A20F9469CFC6C
"""First object of a file that torch wrote before its archives."""


def check(path: Path) -> None:
    """Raise ValueError, with the reason, for a file that torch should not open: see `members` and `check_claims`."""
    try:
        with path.open("rb") as file:
            zipped = file.read(2) == b"PK"
        if zipped:
            check_claims(path, members(path))
        else:
            check_legacy_claims(path)
    except (zipfile.BadZipFile, NotImplementedError, struct.error, EOFError, OverflowError, MemoryError) as error:
        raise ValueError(f"it was cut short or is damaged ({error or type(error).__name__})") from error


def members(path: Path) -> list[str]:
    """Names of the members of torch's zip archive, in small letters.

    Raises ValueError, with the reason, for compressed members, members that overlap or claim more bytes than the file
    has, two of one name, and for incomplete archives.
    """
    size = path.stat().st_size
    check_directory(path)
    with zipfile.ZipFile(path) as archive:
        infos = archive.infolist()
    end = 0
    for info in sorted(infos, key=lambda info: info.header_offset):
        if info.compress_type != zipfile.ZIP_STORED or info.compress_size != info.file_size or info.flag_bits & 1:
            raise ValueError(f"its member {info.filename[:80]!r} is compressed, which torch.save never does")
        if info.header_offset < end:
            raise ValueError(f"its member {info.filename[:80]!r} lies within another one")
        end = info.header_offset + 30 + info.compress_size
    if end > size:
        raise ValueError("its members claim more bytes than it has")
    # torch's reader ignores case.
    names = [info.filename.lower() for info in infos]
    if len(set(names)) < len(names):
        raise ValueError("two of its members have one name")
    return names


def check_directory(path: Path) -> None:
    """Raise ValueError if the list of members does not end the file, as all readers expect, or is huge."""
    size = path.stat().st_size
    with path.open("rb") as file:
        file.seek(max(size - 98, 0))  # the end, and for large archives its 64-bit form: 56 + 20 + 22 bytes
        tail = file.read()
    end = tail[-22:]
    if end[:4] != b"PK\x05\x06" or end[20:] != b"\0\0":
        raise ValueError("the list of its members does not end it: it was cut short, or something follows it")
    length, start = struct.unpack("<II", end[12:20])
    place = size - 22
    if tail[-42:-38] == b"PK\x06\x07":
        length, start = struct.unpack("<QQ", tail[-58:-42])
        place = size - 98
        if tail[:4] != b"PK\x06\x06" or struct.unpack("<Q", tail[-34:-26])[0] != place:
            raise ValueError("the list of its members is damaged")
    if length > DIRECTORY:
        raise ValueError(f"the list of its members has {length:,} bytes")
    if start + length != place:
        raise ValueError("the list of its members is damaged")


def check_claims(path: Path, names: list[str]) -> None:
    """Raise ValueError if the pickle of an archive claims more than the archive holds; `names`: see `members`."""
    pickles = [name for name in names if name.endswith("data.pkl")]
    if len(pickles) != 1 or len({name.partition("/")[0] for name in names}) > 1:
        raise ValueError("it is a zip archive, but none that torch.save wrote")
    folder = pickles[0].removesuffix("data.pkl")
    with zipfile.ZipFile(path) as archive:
        infos = {info.filename.lower(): info for info in archive.infolist()}
        if infos[pickles[0]].file_size > PICKLED:
            raise ValueError(f"its pickle has more than {PICKLED:,} bytes")
        content = archive.read(infos[pickles[0]])
    for key, claimed in ArchiveClaims(BytesIO(content)).storages.items():
        record = infos.get(f"{folder}data/{key}".lower())
        if (record.file_size if record else 0) < claimed:
            raise ValueError(f"a tensor claims {claimed:,} bytes of {key[:80]!r}, which has fewer")


def check_legacy_claims(path: Path) -> None:
    """`check_claims` for a file older than torch's archives: five pickles, followed by the numbers."""
    size = path.stat().st_size
    total = 0
    with path.open("rb") as file:
        start = BytesIO(file.read(min(size, PICKLED)))
    if ArchiveClaims(start).last != MAGIC:
        raise ValueError("it is a pickle, but none that torch.save wrote: opening it could run code")
    for _ in range(4):  # protocol, machine, what was saved, keys of the storages
        total += sum(ArchiveClaims(start).storages.values())
    if total > size:
        raise ValueError(f"its tensors claim {total:,} bytes, and the file has {size:,}: it was cut short")


@dataclass(frozen=True)
class _Storage:
    elements: int


@dataclass(frozen=True)
class _Global:
    name: str


class _Tuple(tuple[Any, ...]):
    """The items of a tuple that matter, and its depth and leaves."""

    depth: int
    weight: int

    @classmethod
    def of(cls, items: list[Any]) -> _Tuple:
        result = cls(items)
        inner = [item for item in items if isinstance(item, _Tuple)]
        result.depth = 1 + max((item.depth for item in inner), default=0)
        result.weight = 1 + len(items) - len(inner) + sum(item.weight for item in inner)
        if result.depth > TUPLE_DEPTH or result.weight > TUPLE_WEIGHT:
            raise ValueError("it nests tuples without end")
        return result


OTHER = object()
"""Placeholder of every object whose content does not matter."""
PUSHED: Mapping[str, Callable[[Any], Any]] = {
    **dict.fromkeys(("EMPTY_DICT", "EMPTY_LIST", "EMPTY_SET", "NONE", "NEWTRUE", "NEWFALSE"), lambda _: OTHER),
    **dict.fromkeys(("BININT", "BININT1", "BININT2", "LONG1", "BINUNICODE", "BINFLOAT"), lambda value: value),
    "SHORT_BINSTRING": lambda value: value,
    "EMPTY_TUPLE": lambda _: _Tuple.of([]),
    "GLOBAL": lambda value: _Global(value.replace(" ", ".")),
}
"""Steps that push an object, made from their argument."""
TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
"""Steps that replace so many objects by their tuple."""
DROPPED = {"APPEND": 1, "SETITEM": 2, "BUILD": 1}
"""Steps that put so many objects into the one below, whose content does not matter."""


class ArchiveClaims:
    """The claims of one pickle, read without building anything.

    Accepts the steps of torch's unpickler of weights; raises ValueError for others, and for claims that no state dict
    makes.

    storages: claimed bytes, by key. last: the pickled object, if it is a number or a text.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self.storages: dict[str, int] = {}
        self.last: Any = OTHER
        self._stack: list[Any] = []
        self._marks: list[list[Any]] = []
        self._memo: dict[int, Any] = {}
        try:
            for number, (step, value) in enumerate(_steps(file)):
                if number > OPERATIONS:
                    raise ValueError(f"its pickle has more than {OPERATIONS:,} steps")
                self._take(step, value)
        except (IndexError, KeyError, struct.error, AttributeError, TypeError) as error:
            raise ValueError(f"its pickle is damaged or was cut short ({type(error).__name__})") from error

    def _take(self, step: str, value: Any) -> None:
        stack = self._stack
        if step in PUSHED:
            stack.append(PUSHED[step](value))
        elif step in ("BINPUT", "LONG_BINPUT"):
            self._memo[value] = stack[-1]
        elif step in ("BINGET", "LONG_BINGET"):
            stack.append(self._memo[value])
        elif step == "MARK":
            self._marks.append(stack)
            self._stack = []
        elif step in TUPLES:
            stack[-TUPLES[step] :] = [_Tuple.of(stack[-TUPLES[step] :])]
        elif step in ("TUPLE", "APPENDS", "SETITEMS"):
            self._stack = self._marks.pop()
            if step == "TUPLE":
                self._stack.append(_Tuple.of(stack))
        elif step in DROPPED:
            del stack[-DROPPED[step] :]
        elif step in ("REDUCE", "NEWOBJ"):
            arguments, called = stack.pop(), stack.pop()
            stack.append(_called(called, arguments))
        elif step == "BINPERSID":
            stack.append(self._storage(stack.pop()))
        elif step == "STOP":
            self.last = stack[-1]
        elif step != "PROTO":
            raise ValueError(f"its pickle has a step {step}, which torch.save does not write")

    def _storage(self, reference: Any) -> Any:
        """The storage of a reference ("storage", class, key, device, elements, ...)."""
        if reference[0] not in ("storage", b"storage"):
            return OTHER
        kind = reference[1].name.rpartition(".")[2].removesuffix("Storage")
        key = reference[2]
        elements = reference[4]
        if not isinstance(elements, int) or not 0 <= elements < 2**60:
            raise ValueError("a tensor claims no number of elements")
        name = key.decode("ascii", "replace") if isinstance(key, bytes) else str(key)[:80]
        self.storages[name] = max(self.storages.get(name, 0), elements * BYTES.get(kind, 1))
        return _Storage(elements)


def _steps(file: IO[bytes]) -> Iterator[tuple[str, Any]]:
    for code, value, _ in pickletools.genops(file):
        yield code.name, value


def _called(called: Any, arguments: Any) -> Any:
    """The result of a call, as far as it matters; raises ValueError if it would allocate more than the file has."""
    name = called.name if isinstance(called, _Global) else ""
    if name.startswith("torch._utils._rebuild_tensor"):
        storage, offset, size, stride = arguments[:4]
        _check_view(storage.elements, offset, size, stride)
    elif name == "numpy.dtype" and not re.fullmatch(r"[<>|=]?[a-zA-Z]\d{0,2}", str(arguments[0])):
        raise ValueError(f"it holds numbers of the kind {str(arguments[0])[:80]!r}")
    elif name == "builtins.bytearray" or re.fullmatch(r"torch(\.\w+)*\.\w+Tensor", name):
        raise ValueError(f"it calls {name}, which no state dict needs")
    return OTHER


def _check_view(stored: int, offset: int, size: tuple[int, ...], stride: tuple[int, ...]) -> None:
    """Raise ValueError for a view that shows more elements than are stored."""
    shown = prod(size)
    last = offset + sum((length - 1) * step for length, step in zip(size, stride, strict=True)) if shown else 0
    if min((offset, *size, *stride), default=0) < 0 or (shown and last >= stored) or shown > stored + EXPANDED:
        raise ValueError(f"a tensor of shape {tuple(size)!r:.80} claims more than the {stored:,} numbers that it has")
