"""Sizes in the page headers of a Parquet file, checked against its footer before pyarrow unpacks a page.

pyarrow believes the pages and has no access to their headers, so limits on what a footer claims would be worth nothing
without this check. Headers are in Thrift's compact protocol (apache/thrift, doc/specs/thrift-compact-protocol.md), as
Parquet's format declares them (apache/parquet-format, parquet.thrift).
"""

from __future__ import annotations

from typing import IO, Any

LONGEST_HEADER = 2**16
"""Bytes of a page header at most; with statistics of long texts they have some thousand."""

UNPACKED_SIZE, STORED_SIZE = 2, 3
"""Fields of a page header: the bytes of its page once unpacked, and in the file."""

DATA_PAGES = (5, 8)
"""Fields of a page header that hold the header of a data page, versions 1 and 2; field 1 of these counts values."""

DEEPEST = 8
"""Levels of structures and lists in a page header; the format needs three."""

LONGEST_NUMBER = 10
"""Bytes of an integer of 64 bits, seven bits in each."""


def check_pages(file: IO[bytes], chunk: Any) -> None:
    """Raise ValueError where pages unpack to more bytes, hold more values or reach further than the metadata say.

    file: the Parquet file, open. chunk: pyarrow's metadata of one column in one row group.
    """
    place = chunk.data_page_offset
    if chunk.has_dictionary_page and chunk.dictionary_page_offset:
        place = min(place, chunk.dictionary_page_offset)
    end = place + chunk.total_compressed_size
    unpacked = values = 0
    while place < end:
        file.seek(place)
        header = _Compact(file.read(min(LONGEST_HEADER, end - place)))
        fields = header.structure()
        sizes: list[Any] = [fields.get(UNPACKED_SIZE), fields.get(STORED_SIZE)]
        counts: list[Any] = [fields[key].get(1) for key in DATA_PAGES if isinstance(fields.get(key), dict)]
        if any(not isinstance(number, int) or number < 0 for number in (*sizes, *counts)):
            raise ValueError(f"a page at byte {place:,} has no size")
        unpacked += header.place + sizes[0]
        values += sum(counts)
        place += header.place + sizes[1]
        if unpacked > chunk.total_uncompressed_size or values > chunk.num_values or place > end:
            raise ValueError(f"the pages of column {chunk.path_in_schema!r} unpack to more than the metadata say")


class _Compact:
    """Reads Thrift's compact protocol as far as a page header needs it; ValueError where the bytes are no header."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self.place = 0

    def structure(self, depth: int = 0) -> dict[int, Any]:
        """Fields by number: integers and structures; None for a field of any other type, which is skipped."""
        fields: dict[int, Any] = {}
        number = 0
        while head := self._byte():
            step = head >> 4
            number = number + step if step else self._signed()
            fields[number] = self._value(head & 15, depth)
        return fields

    def _value(self, kind: int, depth: int) -> Any:
        if depth > DEEPEST:
            raise ValueError("a page header is nested too deeply")
        match kind:
            case 1 | 2:  # true and false are types and have no bytes
                return None
            case 3:
                return self._byte()
            case 4 | 5 | 6:
                return self._signed()
            case 7:
                self._skip(8)
            case 8:
                self._skip(self._unsigned())
            case 9 | 10:
                self._skip_list(depth)
            case 12:
                return self.structure(depth + 1)
            case _:
                raise ValueError(f"a page header has a field of type {kind}")
        return None

    def _skip_list(self, depth: int) -> None:
        head = self._byte()
        kind = head & 15
        count = head >> 4
        for _ in range(self._unsigned() if count == 15 else count):
            # Unlike in a structure, a truth value has a byte in a list: each entry has one, so the content bounds them.
            self._byte() if kind in (1, 2) else self._value(kind, depth + 1)

    def _byte(self) -> int:
        self._skip(1)
        return self._content[self.place - 1]

    def _skip(self, count: int) -> None:
        self.place += count
        if self.place > len(self._content):
            raise ValueError("a page header is cut short or too long")

    def _unsigned(self) -> int:
        value = 0
        for position in range(LONGEST_NUMBER):
            byte = self._byte()
            value |= (byte & 127) << 7 * position
            if byte < 128:
                return value
        raise ValueError("a page header has a number of more than 64 bits")

    def _signed(self) -> int:
        value = self._unsigned()
        return (value >> 1) ^ -(value & 1)
