"""The pages of a Parquet column, as their headers count them: what a footer says of them is only said.

Headers are in Thrift's compact protocol (apache/thrift, doc/specs/thrift-compact-protocol.md), as Parquet's format
(apache/parquet-format, parquet.thrift) declares them. pyarrow has no access to them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

BEFORE = 2**16
"""Bytes in which a header ends: it holds a few numbers, and the least and largest value of its page."""

SIZE, STORED = 2, 3
"""Fields of a page's header: its bytes as they are unpacked, and as they lie in the file."""

COUNTS = (5, 8)
"""Fields of a page's header that hold the header of a data page, of either version; its field 1 counts values."""


class _Compact:
    """A structure in Thrift's compact protocol, numbers and structures alone; ValueError where the bytes are none."""

    def __init__(self, data: bytes) -> None:
        self._data, self.place = data, 0

    def _byte(self) -> int:
        if self.place >= len(self._data):
            raise ValueError("a page's header is cut off or too long")
        self.place += 1
        return self._data[self.place - 1]

    def _unsigned(self) -> int:
        value = shift = 0
        while shift < 70:
            byte = self._byte()
            value |= (byte & 127) << shift
            if byte < 128:
                return value
            shift += 7
        raise ValueError("a page's header has a number of more than 64 bits")

    def _signed(self) -> int:
        value = self._unsigned()
        return (value >> 1) ^ -(value & 1)

    def structure(self, depth: int = 0) -> dict[int, Any]:
        """The fields by their numbers; texts are left out."""
        found: dict[int, Any] = {}
        number = 0
        while first := self._byte():
            number = number + (first >> 4) if first >> 4 else self._signed()
            found[number] = self._value(first & 15, depth)
        return found

    def _value(self, kind: int, depth: int) -> Any:
        if kind in (1, 2):  # a truth value is part of its field's type
            return kind == 1
        if kind == 3:
            return self._byte()
        if kind in (4, 5, 6):
            return self._signed()
        if kind == 8:
            length = self._unsigned()  # which moves the place itself
            self.place += length
            return None
        if kind == 12 and depth < 4:
            return self.structure(depth + 1)
        raise ValueError(f"a page's header has a field of type {kind}")


def pages(file: Any, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Of each page between two places of a binary file: its bytes as they are unpacked, and its values.

    Raises ValueError for what is no page, or reaches beyond the end.
    """
    while start < end:
        file.seek(start)
        header = _Compact(file.read(min(BEFORE, end - start)))
        fields = header.structure()
        size, stored = fields.get(SIZE), fields.get(STORED)
        if not isinstance(size, int) or not isinstance(stored, int) or size < 0 or stored < 0:
            raise ValueError("a page has no size")
        start += header.place + stored
        counts = [fields[k].get(1) for k in COUNTS if isinstance(fields.get(k), dict)]
        yield size, counts[0] if counts and isinstance(counts[0], int) else 0
    if start > end:
        raise ValueError("a page reaches beyond its column")
