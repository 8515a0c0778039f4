"""Names of a classifier's outputs: from a user's file, and from the configurations of other libraries."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harness import plugins
from harness.base.files import read_limited
from harness.base.parsing import parse_json
from harness.data.classes import same_list, shortened
from harness.types import HarnessError

PLACEHOLDER = re.compile(r"LABEL_\d+")
"""Names that transformers gives to outputs without a name."""


def read_classes(file: Path) -> tuple[str, ...]:
    """The names in a file, in the order of the outputs.

    A text has one a line; JSON has a list, or an object from output to name, also under ``id2label`` as in the
    configurations of transformers. Raises HarnessError for other files, for an empty list, and for repeated names.
    """
    if not file.is_file():
        raise HarnessError(f"classes={file}: there is no such file. It must hold the names of the outputs, one a line.")
    text = read_limited(file).decode("utf-8-sig", errors="replace")
    if text.lstrip()[:1] in ("[", "{"):
        try:
            names = _of_json(parse_json(text))
        except ValueError as error:
            raise HarnessError(
                f"classes={file}: {error}. Give a list of names, or an object from output to name."
            ) from error
    else:
        names = [line.strip() for line in text.splitlines() if line.strip()]
    check_distinct(names, str(file))
    return tuple(names)


def check_distinct(names: Sequence[str], origin: str) -> None:
    """Raise HarnessError for a list of class names that is empty or repeats one. origin: the list or its file."""
    if not names or len(set(names)) < len(names):
        repeated = next((name for name in names if names.count(name) > 1), None)
        fault = "it names no class" if repeated is None else f"it has {repeated!r} twice"
        raise HarnessError(f"classes={origin}: {fault}. Each output needs a name that no other has.")


def _of_json(values: Any) -> list[str]:
    if isinstance(values, dict):
        values = in_order(values.get("id2label", values))
    if not isinstance(values, list) or not all(isinstance(name, str) for name in values):
        raise ValueError("it holds something else than names")
    return [name.strip() for name in values]


def in_order(labels: Any) -> list[Any]:
    """The values of an object from output to name, by output; ValueError unless the outputs are 0, 1, 2, ..."""
    by_output = {int(output): name for output, name in dict(labels).items()}
    if sorted(by_output) != list(range(len(by_output))):
        raise ValueError("its outputs are not 0, 1, 2, ...")
    return [by_output[output] for output in range(len(by_output))]


def naming(names: Sequence[str]) -> dict[str, Any]:
    """Details for a record on names that a library gives: a benchmark's data set where they read like its classes.

    Benchmarks know their classes by one spelling, such as WordNet's numbers, and publish others. Empty for
    placeholders, and for names that repeat, which cannot be matched.
    """
    for entry in plugins.dataset.entries():
        aliases = entry.facts.get("aliases")
        if aliases and same_list(names, aliases()):
            return {"dataset": entry.name}
    if not names or all(map(PLACEHOLDER.fullmatch, names)):
        return {}
    if len(set(names)) < len(names):
        return {"notes": ["Its configuration gives two outputs one name: its names were left out."]}
    return {"classes": list(names)}


def check_count(names: Sequence[str], count: int, origin: str) -> None:
    """Raise HarnessError for class names, or a file of them, that do not name each output of a network."""
    if len(names) != count:
        raise HarnessError(
            f"classes={origin} names {len(names)} classes, and the network has {count} outputs. Name each output."
        )


def contradictions(names: Sequence[str], own: Sequence[str], file: str) -> list[str]:
    """A sentence on stated names that differ from those of the network's own configuration, if it has any."""
    if not names or not own or list(names) == list(own):
        return []
    return [
        f"classes={file} names the outputs {shortened(names)}, and the network's own configuration {shortened(own)}: "
        "the stated names count."
    ]
