"""The record of an analysis: networks, images and numbers, as JSON. Imports no torch."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from harness.base.files import writing
from harness.types import Metric

SCHEMA = "harness-analysis-1"
"""Format of the file."""


@dataclass(frozen=True)
class AnalysedImages:
    """Images that took part. sha256: of their content and order. n: how many."""

    name: str
    split: str
    sha256: str
    n: int


@dataclass(frozen=True)
class AnalysedModel:
    """The features of one network.

    sha256: of its weights. dimension: D. metrics: in the order of the analyses; the condition holds a metric's
    settings, such as k=8. left_out: reason, by analysis. notes: sentences on the features.
    """

    name: str
    sha256: str
    dimension: int
    metrics: Sequence[Metric]
    left_out: Mapping[str, str] = field(default_factory=dict)
    notes: Sequence[str] = ()


@dataclass(frozen=True)
class ScoredTime:
    """Accuracy of a linear probe on the features of a diffusion model at a time of its schedule."""

    time: int
    accuracy: Metric


@dataclass(frozen=True)
class AnalysisRecord:
    """All that decided the numbers, and the numbers.

    spec: every setting. train: images that probes and autoencoders learn from. test: images of the numbers; None where
    they are the training images, by cross-validation. methods: how each metric and its interval are made, in words.
    """

    spec: Mapping[str, Any]
    train: AnalysedImages
    test: AnalysedImages | None
    models: Sequence[AnalysedModel]
    methods: Mapping[str, str]
    environment: Mapping[str, Any]
    schema: str = SCHEMA


@dataclass(frozen=True)
class TimesRecord:
    """The same for the times of a diffusion model. best: the time with the highest accuracy."""

    spec: Mapping[str, Any]
    denoiser: str
    sha256: str
    train: AnalysedImages
    times: Sequence[ScoredTime]
    best: int
    environment: Mapping[str, Any]
    schema: str = SCHEMA


def write_analysis(record: AnalysisRecord | TimesRecord, file: Path) -> None:
    """Write a record in full or not at all; raises HarnessError for a place that cannot be written to."""
    with writing(file) as partial:
        partial.write_text(json.dumps(asdict(record), indent=1) + "\n")
