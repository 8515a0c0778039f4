"""Records and cards, told apart by their contents."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from harness.api.rerun.cards import Card
from harness.base.errors import HarnessError, suggest
from harness.base.files import read_limited
from harness.base.parsing import parse_json
from harness.evaluation.records import record as records
from harness.evaluation.records.record import RunRecord


def find_target(text: str) -> RunRecord | Card:
    """The record or the card of a JSON file, of a training's folder, or of a bundled checkpoint by name.

    Raises HarnessError for anything else.
    """
    path = _path(text)
    try:
        values = parse_json(read_limited(path, records.LARGEST))
    except OSError as error:
        raise HarnessError(f"{path}: {error.strerror}. Give a record's or a card's JSON file.") from error
    except ValueError as error:
        raise HarnessError(f"{path} is not in JSON ({error}). Give a record's or a card's JSON file.") from error
    keys = values.keys() if isinstance(values, dict) else set()
    if {"suite", "metrics"} <= keys:
        return records.load(path)
    if {"command", "sha256", "spec", "data", "made_with"} <= keys:
        return Card(path, values)
    raise HarnessError(f"{path} is neither a run record nor a checkpoint's card. Give one of these JSON files.")


def _path(text: str) -> Path:
    path = Path(text)
    if path.is_dir():
        return path / "card.json"
    if path.exists() or path.suffix:
        return path
    folder = resources.files("harness.registry.checkpoints")
    cards = {file.name.removesuffix(".json"): file for file in folder.iterdir() if file.name.endswith(".json")}
    if (name := text.replace("/", "-")) not in cards:
        raise suggest("record or card", text, [name.replace("-", "/", 1) for name in cards])
    with resources.as_file(cards[name]) as file:
        return file
