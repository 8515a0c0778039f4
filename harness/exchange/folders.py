"""Record files in folders that others may have filled."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from harness.base.errors import HarnessError
from harness.report.boards import record_files

REMEDY = "Give a results folder or a record's .json file."


def files_of(paths: Iterable[Path]) -> list[Path]:
    """The record files that paths name: files, and all below folders. Raises HarnessError where there are none."""
    files: dict[Path, None] = {}
    for path in paths:
        if not path.exists():
            raise HarnessError(f"No file or folder at {path.absolute()}. {REMEDY}")
        below = record_files(path) if path.is_dir() else [path]
        if not below:
            raise HarnessError(f"No records in {path.absolute()}. {REMEDY}")
        files |= dict.fromkeys(below)
    return list(files)
