"""Page headers of untrusted Parquet files: unknown fields are skipped, impossible sizes refused."""

from __future__ import annotations

import io
from types import SimpleNamespace

import pytest

from harness.base.parquet_pages import check_pages

SIZES = b"\x15\x02\x15\x04\x15\x06"
"""A page's type, its 2 bytes unpacked and its 3 bytes in the file, as fields 1 to 3: (1, 2, 3) in zigzag."""


def check(header: bytes, values: int = 10, unpacked: int = 10**6) -> None:
    """`check_pages` of a column that is this header, and the 3 bytes of its page."""
    content = header + b"\0" + b"abc"
    chunk = SimpleNamespace(
        data_page_offset=0,
        has_dictionary_page=False,
        total_compressed_size=len(content),
        total_uncompressed_size=unpacked,
        num_values=values,
        path_in_schema="a",
    )
    check_pages(io.BytesIO(content), chunk)


HARMLESS = {
    "nothing but sizes": b"",
    "five values": b"\x2c\x15\x0a\x00",
    "a truth value, a double and a text": b"\x11\x17" + bytes(8) + b"\x18\x02ab",
    "a list of two integers": b"\x19\x25\x02\x02",
    "a list of two truth values": b"\x19\x21\x01\x02",
    "structures in structures": b"\x1c" * 7 + b"\0" * 7,
    "a field with a number of its own": b"\x05\x28\x02",
}


@pytest.mark.parametrize("name", HARMLESS)
def test_fields_that_are_not_sizes_are_skipped(name: str) -> None:
    check(SIZES + HARMLESS[name])


HOSTILE = {
    "more values": (SIZES + b"\x2c\x15\x2a\x00", "unpack to more"),
    "a negative number of values": (SIZES + b"\x2c\x15\x01\x00", "has no size"),
    "a text as the number of values": (SIZES + b"\x2c\x18\x00\x00", "has no size"),
    "no number of values": (SIZES + b"\x2c\x00", "has no size"),
    "a negative size": (b"\x15\x02\x15\x03\x15\x06", "has no size"),
    "a truth value as a size": (b"\x15\x02\x11\x15\x06", "has no size"),
    "a page beyond the end": (b"\x15\x02\x15\x04\x15\x08", "unpack to more"),
    "an endless number": (SIZES + b"\x15" + b"\xff" * 20, "more than 64 bits"),
    "structures without end": (SIZES + b"\x1c" * 60_000, "nested too deeply"),
    "lists in lists without end": (SIZES + b"\x19" + b"\x19" * 60_000, "nested too deeply"),
    "a list without end": (SIZES + b"\x19\xf1" + b"\xff" * 8 + b"\x0f", "cut short"),
    "a text that is not there": (SIZES + b"\x18\xff\xff\x7f", "cut short"),
    "a type that the protocol lacks": (SIZES + b"\x1f", "type 15"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_headers_are_refused_with_a_reason(name: str) -> None:
    header, reason = HOSTILE[name]
    with pytest.raises(ValueError, match=reason):
        check(header)


def test_a_header_counts_among_the_bytes_that_its_page_unpacks_to() -> None:
    check(SIZES, unpacked=len(SIZES) + 1 + 2)
    with pytest.raises(ValueError, match="unpack to more"):
        check(SIZES, unpacked=len(SIZES) + 1 + 1)
