"""Provenance of a network's weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

LIVE = "live object"
"""Source of a network, and start of a plugin's origin, that exist in the memory of one process alone."""


@dataclass(frozen=True)
class Weights:
    """Provenance of a network's weights, as records store it.

    name: of the model.
    sha256: of the weights file, or of the tensors and code of a network without one.
    source: name of the file, or "plugin", or the library that built the network, or `LIVE`.
    details: header of the file, or entry of the manifest.
    """

    name: str
    sha256: str
    source: str
    details: Mapping[str, Any] = field(default_factory=dict)
