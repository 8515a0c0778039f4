"""Rows as JSON, for programs: unrounded, one object per metric."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any


def text(rows: Sequence[Mapping[str, Any]]) -> str:
    """A list of objects, one per line, in ASCII: reading gives the same float64 and the same texts."""
    return "[\n" + ",\n".join(json.dumps(row, allow_nan=False) for row in rows) + "\n]\n"
