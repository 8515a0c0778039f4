"""Cards of trainings, which `harness train` writes beside the weights: that of a record, by the weights' hash."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from harness.base.errors import HarnessError
from harness.base.files import read_limited
from harness.base.parsing import parse_json
from harness.evaluation.records.record import RunRecord
from harness.plugins.settings import bare

LARGEST = 2**20
"""Bytes of a card at most."""


def card_of(entry: RunRecord) -> tuple[Path, Mapping[str, Any]] | None:
    """The path and values of the card of a record's weights, by their hash; None where there is no such card."""
    name = bare(entry.model.name)
    for place in _places(name, entry):
        values = read(place)
        if values is not None and values.get("sha256") == entry.model.sha256:
            return place, values
    return None


def _places(name: str, entry: RunRecord) -> Iterator[Path]:
    """Paths where a card may lie: in the folder of a training, beside a file, or with the bundled checkpoints."""
    roots = [Path(), *(list(entry.path.absolute().parents)[:4] if entry.path else [])]
    for root in roots:
        yield from beside(root / name)
    spec = find_spec("harness.registry")
    for folder in spec.submodule_search_locations or () if spec else ():
        yield Path(folder) / "checkpoints" / f"{name.replace('/', '-')}.json"


def beside(weights: Path) -> Iterator[Path]:
    """Paths where the card of weights, a file or the folder of a training, may lie; none for a path without a name."""
    if not weights.name:
        return
    yield weights / "card.json"
    yield weights.with_suffix(".json")
    yield weights.with_name("card.json")


def read(place: Path) -> Mapping[str, Any] | None:
    """The values of a card; None for anything else, since its path comes from a record."""
    with suppress(OSError, ValueError, HarnessError):
        values = parse_json(read_limited(place, LARGEST)) if place.is_file() else None
        if isinstance(values, dict) and isinstance(values.get("spec"), dict):
            return values
    return None
