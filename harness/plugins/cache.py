"""Answers about the project's plugins, remembered between commands: importing every plugin takes seconds.

An answer is JSON in the user's cache folder. It holds until a file of the project or of its plugins changes, under the
same Python; a damaged or foreign file counts as absent. Plugins of installed packages may lie anywhere: with one of
these nothing is remembered.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import harness
from harness.base import cache
from harness.base.files import read_limited

FORMAT = 1
"""Version of the answers' form; raise it when they take another one."""

HASHED = {".py", ".toml", ".json"}
"""Suffixes of the files whose content counts; of all others the names and sizes do."""


def remembered(question: str, answer: Callable[[], Any], *inputs: str) -> Any:
    """The answer to a question about the project's plugins, as JSON values: from the cache, or computed and stored.

    question: names the cache's file. answer: computes the answer. inputs: texts on everything else that decides it.
    """
    if entry_points(group="harness.plugins"):
        return answer()
    mark = _digest([str(FORMAT), sys.version, harness.__version__, question, *inputs, *_files()])
    # One file per copy of the project, question and inputs: an outdated answer is overwritten, not kept beside.
    name = f"{question}-{_digest([str(Path(harness.__file__).parent), *inputs])[:24]}.json"
    content = cache.load("plugins", mark, name)
    if content is not None:
        return json.loads(content)
    values = answer()
    cache.store("plugins", mark, json.dumps(values).encode(), name)
    return values


def _files() -> Iterator[str]:
    """A line per file of the project and of its plugins: path, and SHA-256 or size."""
    for package in ("harness", "harness.registry", "harness.suites"):
        for root in _folders(package):
            for file in sorted(root.rglob("*")):
                if "__pycache__" not in file.parts and file.is_file():
                    is_hashed = file.suffix in HASHED
                    content = hashlib.sha256(read_limited(file)).hexdigest() if is_hashed else str(file.stat().st_size)
                    yield f"{package} {file.relative_to(root)} {content}"


def _folders(package: str) -> list[Path]:
    if package == "harness":
        return [Path(harness.__file__).parent]
    spec = find_spec(package)  # which imports no plugin
    return [Path(folder) for folder in spec.submodule_search_locations or ()] if spec else []


def _digest(lines: Sequence[str]) -> str:
    digest = hashlib.sha256()
    for line in lines:
        digest.update(line.encode(errors="surrogateescape") + b"\0")
    return digest.hexdigest()
