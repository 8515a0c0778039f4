"""Sizes that a Parquet file states of its pages, read before pyarrow unpacks one: it takes whatever a page claims."""

from __future__ import annotations

from pathlib import Path
from typing import IO, Any

ROWS = 2**24
"""Rows of a file at most; all of ImageNet's training images are 1.3 million."""

HEADER = 2**16
"""Bytes of a page's header at most; with statistics of long texts they have some thousand."""


def check_pages(file: IO[bytes], chunk: Any) -> None:
    """Raise ValueError where the pages of a column chunk unpack to more than its metadata say, or do not fit into it.

    chunk: pyarrow's metadata of the chunk.
    """
    place = chunk.data_page_offset
    if chunk.has_dictionary_page and chunk.dictionary_page_offset:
        place = min(place, chunk.dictionary_page_offset)
    end, unpacked, values = place + chunk.total_compressed_size, 0, 0
    while place < end:
        file.seek(place)
        header = Compact(file.read(min(HEADER, end - place)))
        fields = header.struct()
        size, packed = fields.get(2, -1), fields.get(3, -1)
        counts = [fields[k].get(1, 0) for k in (5, 8) if isinstance(fields.get(k), dict)]
        if not (isinstance(size, int) and isinstance(packed, int) and size >= 0 and packed >= 0):
            raise ValueError(f"a page at byte {place:,} has no size")
        unpacked += size + header.place
        values += sum(counts)
        place += header.place + packed
        if unpacked > chunk.total_uncompressed_size or place > end or values > chunk.num_values:
            raise ValueError(f"its column {chunk.path_in_schema} unpacks to more than the metadata say")


def check_rows(file: Path, metadata: Any) -> None:
    """Raise ValueError for a file whose numbers of rows are too many, or do not add up."""
    rows = [metadata.row_group(k).num_rows for k in range(metadata.num_row_groups)]
    if metadata.num_rows > ROWS or min(rows, default=0) < 0 or sum(rows) != metadata.num_rows:
        raise ValueError(f"it claims to have {metadata.num_rows:,} rows, {ROWS:,} at most are read")


class Compact:
    """Thrift's compact protocol, as far as a page's header needs it; raises ValueError where it breaks off."""

    def __init__(self, content: bytes) -> None:
        self.content, self.place = content, 0

    def struct(self, depth: int = 0) -> dict[int, Any]:
        """A struct's fields by number: integers, and structs in it; None for all others."""
        if depth > 8:
            raise ValueError("a page's header is nested too deeply")
        fields: dict[int, Any] = {}
        number = 0
        while kind := self._byte():
            step, kind = kind >> 4, kind & 15
            number = number + step if step else self._zigzag()
            fields[number] = self._value(kind, depth)
        return fields

    def _value(self, kind: int, depth: int) -> Any:
        match kind:
            case 1 | 2:  # true and false have no bytes
                return None
            case 3:
                return self._byte()
            case 4 | 5 | 6:
                return self._zigzag()
            case 7:
                self._skip(8)
            case 8:
                self._skip(self._varint())
            case 12:
                return self.struct(depth + 1)
            case 9 | 10:
                self._list(depth)
            case _:
                raise ValueError("a page's header is damaged")
        return None

    def _list(self, depth: int) -> None:
        start = self._byte()
        count, kind = start >> 4, start & 15
        for _ in range(self._varint() if count == 15 else count):
            self._byte() if kind in (1, 2) else self._value(kind, depth + 1)

    def _byte(self) -> int:
        self._skip(1)
        return self.content[self.place - 1]

    def _skip(self, count: int) -> None:
        self.place += count
        if self.place > len(self.content):
            raise ValueError("a page's header breaks off")

    def _varint(self) -> int:
        value = shift = 0
        while True:
            byte = self._byte()
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    def _zigzag(self) -> int:
        value = self._varint()
        return value >> 1 ^ -(value & 1)
