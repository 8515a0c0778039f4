"""Settings beside a checkpoint of the harness, whose header says how it is used."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from harness.base.files import file_sha256
from harness.models.external.class_names import check_count, naming, read_classes
from harness.models.external.text import ModelText
from harness.types import HarnessError, Weights


def checked(text: ModelText, network: nn.Module, info: Weights) -> Weights:
    """The provenance of a checkpoint under the settings of a text: they must agree with it.

    The file `classes` names the outputs where the header does not. Raises HarnessError for a contradiction.
    """
    names = read_classes(Path(text.classes)) if text.classes else ()
    own = _own(network, info)
    for setting in text.stated:
        stated: Any = names if setting == "classes" else getattr(text, setting)
        stated = getattr(text.preprocessing, setting, stated)
        if own[setting] is not None and not _agree(stated, own[setting]):
            raise HarnessError(
                f"{text.name} is a checkpoint whose header says how it is used: {setting}={getattr(text, setting)} "
                f"contradicts its {str(own[setting])[:100]}. Leave the setting out."
            )
    if not names or own["classes"] is not None:
        return info
    check_count(names, int(info.details.get("arguments", {}).get("num_classes", len(names))), text.classes)
    digest = hashlib.sha256((info.sha256 + file_sha256(Path(text.classes))).encode()).hexdigest()
    return replace(info, sha256=digest, details={**info.details, **naming(names), "checkpoint": info.sha256})


def _own(network: nn.Module, info: Weights) -> dict[str, Any]:
    """The settings of a checkpoint by name, None where it has none."""
    details = info.details
    return {
        "architecture": details.get("architecture"),
        "mean": _numbers(getattr(network, "mean", None)),
        "std": _numbers(getattr(network, "std", None)),
        "image_size": next(iter(details.get("sizes", ())), "any size"),
        "interpolation": details.get("interpolation", "bicubic"),  # as `harness.models.checkpoint` reads it
        "classes": details.get("classes"),
    }


def _numbers(buffer: Any) -> list[float]:
    """The three numbers of a normalisation; none for a network that has none."""
    return [round(value, 6) for value in buffer.flatten().tolist()] if isinstance(buffer, Tensor) else []


def _agree(stated: Any, own: Any) -> bool:
    return bool(stated == own if isinstance(own, str) else list(stated) == list(own))
