"""The checkpoint's own card, written by `harness train`: how a classifier was made."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from harness.evaluation.records.record import RunRecord
from harness.report.cards import card_of
from harness.types import Weights


def training_card(entry: RunRecord) -> Mapping[str, Any]:
    """The card of a record's classifier; empty where none is at hand, or where it is of other weights."""
    place_and_card = card_of(entry)
    return place_and_card[1] if place_and_card else {}


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
