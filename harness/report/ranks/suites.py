"""Suites behind rank sets: found without importing every plugin, and answers about them remembered between commands."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Sequence
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypedDict

import harness
from harness import plugins
from harness.base import cache as stored
from harness.base.errors import HarnessError
from harness.base.files import read_limited
from harness.evaluation.records.record import RunRecord
from harness.report.names import label, plain

FORMAT = 2
"""Version of the answers' form; raise it when they take another one."""


DECIDING = ("harness.metrics", "harness.report.ranks", "harness.suites")
"""Packages whose code decides an answer."""


class BoardAnswer(TypedDict):
    """Significant differences of a board. better: for each row, the places of the rows that it is better than.

    unranked: by place, as text, the reason of a row that is not compared with the others.
    reason: why no differences are known; empty where they are.
    """

    better: list[list[int]]
    unranked: dict[str, str]
    reason: str


def remembered(suite: str, inputs: Sequence[str], answer: Callable[[], BoardAnswer]) -> BoardAnswer:
    """The answer, computed or from the user's cache folder: it holds until the code of metrics or suites changes.

    suite: those of plugin files are not remembered. inputs: texts on everything else that decides the answer.
    """
    if plain(suite) not in _modules():
        return answer()
    mark = json.dumps([FORMAT, _code(), *inputs])
    content = stored.load("ranks", mark)
    if content is not None:
        values: BoardAnswer = json.loads(content)
        return values
    values = answer()
    stored.store("ranks", mark, json.dumps(values).encode())
    return values


def loaded(entry: RunRecord) -> Any:
    """The suite of a record, with its settings; of the project's suites the one module is imported.

    Raises HarnessError for a suite of a plugin that is not loaded, or that cannot be configured, or has no
    contributions.
    """
    name = plain(entry.suite)
    if name not in plugins.suite:
        if name in _modules():
            import_module(_modules()[name])
        else:
            plugins.discover()
    if name not in plugins.suite:
        raise HarnessError(f"the plugin of {name} is not loaded: give its file with --plugin")
    suite = plugins.suite.configure(entry.suite).plugin
    if not hasattr(suite, "contributions"):
        raise HarnessError(f"{name} has no method `contributions`: derive it from SuiteBase. Row: {label(entry)}")
    return suite


@cache
def _modules() -> dict[str, str]:
    """The modules of the project's suites, by the suite's name as their text registers it."""
    modules: dict[str, str] = {}
    for root in _folders("harness.suites"):
        for file in sorted(root.rglob("*.py")):
            path = ".".join(file.relative_to(root).with_suffix("").parts)
            for name in re.findall(r'^@suite\("([^"]+)"', file.read_text(encoding="utf-8"), re.MULTILINE):
                modules[name] = f"harness.suites.{path}"
    return modules


@cache
def _code() -> str:
    """SHA-256 of the code and constants that decide an answer: metrics, suites and this package."""
    digest = hashlib.sha256(harness.__version__.encode())
    for root in [folder for name in DECIDING for folder in _folders(name)]:
        for file in sorted((*root.rglob("*.py"), *root.rglob("*.json"))):
            digest.update(f"{file.relative_to(root)}\0".encode() + hashlib.sha256(read_limited(file)).digest())
    return digest.hexdigest()


def _folders(package: str) -> list[Path]:
    spec = find_spec(package)
    return [Path(folder) for folder in spec.submodule_search_locations or ()] if spec else []
