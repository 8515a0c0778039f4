"""Rows as CSV, for spreadsheets and programs: unrounded, one row per metric."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""Starts of a text that spreadsheets run as a formula."""


def text(rows: Sequence[Mapping[str, Any]]) -> str:
    """CSV with a heading; numbers as Python's ``repr``, so that reading gives the same float64; None is empty.

    The columns are the keys of all rows, in the order of their first use; a key that a row lacks is empty. A text that
    starts like a formula, after apostrophes or without, gets one more apostrophe in front, since names in records come
    from anyone: taking it away gives the name.
    """
    file = io.StringIO()
    columns = dict.fromkeys(key for row in rows for key in row)
    # Which spells floats by `repr`, and None as nothing.
    writer = csv.DictWriter(file, [*columns], restval="", lineterminator="\n")
    writer.writerow({name: _safe(name) for name in columns})
    writer.writerows({key: _safe(v) if isinstance(v, str) else v for key, v in row.items()} for row in rows)
    return file.getvalue()


@lru_cache(maxsize=2**16)  # a hundred thousand rows have few different texts
def _safe(value: str) -> str:
    # Lone surrogates have no bytes in UTF-8.
    value = value.encode("utf-8", "backslashreplace").decode("utf-8")
    return f"'{value}" if value.lstrip("'").startswith(FORMULA) else value
