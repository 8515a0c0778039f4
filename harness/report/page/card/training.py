"""The checkpoint's own card, written by `harness train`: how a classifier was made."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from harness.base.errors import HarnessError
from harness.base.files import read_limited
from harness.base.parsing import parse_json
from harness.types import Weights

LARGEST = 2**20
"""Bytes of a card at most."""

BUNDLED = "harness.registry.checkpoints"
"""Package of the cards that the project ships."""


def training_card(name: str, weights: Weights) -> Mapping[str, Any]:
    """The card of a classifier's training; empty where none is at hand, or where it is of other weights.

    name: as the user gives it: of a bundled classifier, a checkpoint, or the folder of a training.
    """
    for content in _contents(name):
        try:
            values = parse_json(content)
        except ValueError:
            continue
        if isinstance(values, dict) and values.get("sha256") == weights.sha256:
            return values
    return {}


def _contents(name: str) -> Iterator[bytes]:
    """The contents of files that may be the card."""
    bundled = resources.files(BUNDLED) / f"{name.replace('/', '-')}.json"
    if bundled.is_file():
        yield bundled.read_bytes()
    path = Path(name)
    for file in (path / "card.json", path.with_suffix(".json"), path.with_name("card.json")) if path.name else ():
        try:
            if file.is_file():
                yield read_limited(file, LARGEST)
        except (OSError, HarnessError):
            continue


def facts(weights: Weights, card: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What a classifier is, as (word, value) pairs: from its record, and from its card where there is one."""
    details = weights.details
    spec, data = _mapping(card, "spec"), _mapping(card, "data")
    pairs = [
        ("architecture", details.get("architecture") or spec.get("model")),
        ("parameters", f"{card['parameters']:,}" if isinstance(card.get("parameters"), int) else None),
        ("classes", len(card["classes"]) if isinstance(card.get("classes"), list) else _classes(details)),
        ("data set", details.get("dataset") or spec.get("dataset")),
        ("training images", _training_data(data)),
        ("initial weights", spec.get("init") or None),
        ("training seed", spec.get("seed")),
        ("training time", f"{card['seconds']:,.0f} s" if isinstance(card.get("seconds"), int | float) else None),
        ("made with", ", ".join(f"{k} {v}" for k, v in sorted(_mapping(card, "made_with").items())) or None),
        ("clean accuracy by the training's own card", _clean(_mapping(card, "clean_accuracy"))),
        ("licence", details.get("licence") or details.get("license") or card.get("licence")),
        ("origin", details.get("origin")),
        ("as published", details.get("as_published")),
        ("weights", weights.source),
        ("SHA-256 of the weights", weights.sha256),
    ]
    return [(word, _text(value)) for word, value in pairs if value is not None]


def settings(card: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Every setting of the training."""
    return [(name, _text(value)) for name, value in sorted(_mapping(card, "spec").items())]


def details(weights: Weights) -> list[tuple[str, str]]:
    """Everything that the weights' file or its library says of itself."""
    return [(name, _text(value)) for name, value in sorted(weights.details.items())]


def _mapping(card: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    values = card.get(name)
    return values if isinstance(values, dict) else {}


def _classes(details: Mapping[str, Any]) -> Any:
    arguments = details.get("arguments")
    return arguments.get("num_classes") if isinstance(arguments, dict) else None


def _training_data(data: Mapping[str, Any]) -> str | None:
    if not data:
        return None
    images = f"{data['images']:,} " if isinstance(data.get("images"), int) else ""
    name = " ".join(str(data[key]) for key in ("name", "split") if key in data)
    return f"{images}of {name}, SHA-256 {str(data.get('sha256', 'unknown'))[:12]}"


def _clean(accuracy: Mapping[str, Any]) -> str | None:
    value = accuracy.get("value")
    # Without the card's interval, which another method may have made than those of the leaderboards.
    return f"{100 * value:.1f} %, n = {accuracy.get('n', 'unknown')}" if isinstance(value, int | float) else None


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
