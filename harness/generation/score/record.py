"""The record of a scoring: images, networks and numbers, as JSON. Imports no torch."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from harness.base.files import writing
from harness.types import Metric

SCHEMA = "harness-score-1"
"""Format of the file."""


@dataclass(frozen=True)
class ScoredImages:
    """Images that took part.

    name: path or data set. sha256: of the images and their order. n: images. size: height and width in pixels.
    """

    name: str
    sha256: str
    n: int
    size: tuple[int, int]


@dataclass(frozen=True)
class MetricRow:
    """One metric of the samples.

    metric: with interval, n and unit. floor: the same of real images beside the reference; None without. ideal: mean
    for samples of the reference's own distribution; None where it is unknown.
    """

    metric: Metric
    floor: Metric | None = None
    ideal: float | None = None


@dataclass(frozen=True)
class ExtractorScores:
    """Metrics in the features of one network.

    sha256: of its weights. dimension: D. resizing: its treatment of images of other sizes. arithmetic: device,
    precision and images per call. left_out: reason, by metric. notes: metrics as papers print them.
    """

    extractor: str
    sha256: str
    dimension: int
    resizing: str
    arithmetic: Mapping[str, Any]
    rows: Sequence[MetricRow]
    left_out: Mapping[str, str]
    notes: Sequence[str] = ()


@dataclass(frozen=True)
class JudgeScores:
    """A classifier's answers for the classes asked for. sha256: of its weights. notes: on the match of classes."""

    judge: str
    sha256: str
    metrics: Sequence[Metric]
    notes: Sequence[str] = ()


@dataclass(frozen=True)
class ScoreRecord:
    """All that decided the numbers, and the numbers.

    reference, floor: images, None without. statistics: SHA-256 of mu and sigma that Frechet distances used; "" without.
    """

    samples: ScoredImages
    reference: ScoredImages | None
    reference_name: str
    statistics: str
    floor: ScoredImages | None
    seed: int
    extractors: Sequence[ExtractorScores]
    judge: JudgeScores | None
    notes: Sequence[str]
    environment: Mapping[str, Any]
    schema: str = SCHEMA


def write(record: ScoreRecord, file: Path) -> None:
    """Write a record in full or not at all; raises HarnessError for a place that cannot be written to."""
    with writing(file) as partial:
        partial.write_text(json.dumps(asdict(record), indent=1) + "\n")
