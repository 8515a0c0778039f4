"""Tables of scored sets of generated images: a metric a row, beside real images and the ideal."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from harness.generation.score.record import ExtractorScores, JudgeScores, MetricRow, ScoredImages, ScoreRecord
from harness.report.table import Table
from harness.types import Metric

FINEST = 6
"""Decimals of a number at most."""


def tables(record: ScoreRecord) -> list[Table]:
    """A table for each extractor, and one for the judge."""
    made = [_of_extractor(record, scores) for scores in record.extractors]
    return [*made, _of_judge(record, record.judge)] if record.judge else made


def _of_extractor(record: ScoreRecord, scores: ExtractorScores) -> Table:
    floor = _count(record.floor)
    header = ["metric", "value", "n", *([f"{floor} real"] if floor else []), "ideal"]
    rows = [
        [
            heading(row.metric),
            spelled(row.metric),
            f"{row.metric.n}",
            *([spelled(row.floor) if row.floor else ""] if floor else []),
            _ideal(row),
        ]
        for row in scores.rows
    ]
    data = [_data(scores.extractor, row) for row in scores.rows]
    title = f"{record.samples.name} beside {record.reference_name}, in features of {scores.extractor}"
    return Table(title, header, rows, _caption(record, scores), data=data)


def _of_judge(record: ScoreRecord, judge: JudgeScores) -> Table:
    rows = [[heading(metric), spelled(metric), f"{metric.n}"] for metric in judge.metrics]
    data = [_data(judge.judge, MetricRow(metric)) for metric in judge.metrics]
    title = f"{record.samples.name}, judged by {judge.judge}"
    return Table(title, ["metric", "value", "n"], rows, " ".join(judge.notes), data=data)


def _caption(record: ScoreRecord, scores: ExtractorScores) -> str:
    """Sentences on the networks and sets behind the numbers."""
    reference = f"Reference: {record.reference_name}"
    reference += f", {record.reference.n} images" if record.reference else ", statistics of unknown size"
    sentences = [
        f"{record.samples.n} images of {record.samples.size[1]} x {record.samples.size[0]} pixels. {reference}.",
        f"Extractor: {scores.dimension} dimensions, SHA-256 {scores.sha256[:12]}, resizing {scores.resizing}.",
        "Intervals: 95 %, over other samples of the same generator (recall and coverage: and other reference images). "
        "Ideal: mean for samples of the reference's own distribution.",
        *([f"Real: {record.floor.name}, the floor."] if record.floor else []),
        *record.notes,
        *scores.notes,
        *(f"Left out: {name}, because {reason.rstrip('.')}." for name, reason in scores.left_out.items()),
    ]
    return " ".join(sentences)


def _count(images: ScoredImages | None) -> int:
    return images.n if images else 0


def heading(metric: Metric) -> str:
    """A metric's name with its unit."""
    return f"{metric.name} ({'%' if metric.unit == 'fraction' else metric.unit})"


def spelled(metric: Metric) -> str:
    """Value and interval, with the decimals that the interval's width makes worthwhile."""
    scale = 100 if metric.unit == "fraction" else 1
    low, high = (end * scale for end in metric.interval)
    decimals = _decimals(high - low)
    return f"{metric.value * scale:.{decimals}f} [{low:.{decimals}f}, {high:.{decimals}f}]"


def _ideal(row: MetricRow) -> str:
    if row.ideal is None:
        return ""
    return f"{row.ideal * 100:.1f}" if row.metric.unit == "fraction" else f"{row.ideal:g}"


def _decimals(width: float) -> int:
    return min(max(1 - math.floor(math.log10(width)), 1), FINEST) if width > 0 else 3


def _data(extractor: str, row: MetricRow) -> Mapping[str, Any]:
    """A row of unrounded numbers."""
    metric = {key: value for key, value in asdict(row.metric).items() if key not in ("interval", "condition")}
    low, high = row.metric.interval
    real: Sequence[Any] = (row.floor.value, *row.floor.interval, row.floor.n) if row.floor else (None,) * 4
    names = ("real", "real_low", "real_high", "real_n")
    return {"extractor": extractor, **metric, "low": low, "high": high, **dict(zip(names, real, strict=True)),
            "ideal": row.ideal}  # fmt: skip
