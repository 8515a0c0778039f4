"""Paired comparison of two guided rows: the same noise and the same classes asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

from numpy.typing import NDArray

from harness.evaluation.records.record import RunRecord
from harness.metrics.generation.moments import Moments, frechet, influence, moments
from harness.metrics.generation.neighbours import neighbours
from harness.metrics.generation.scores import full_name
from harness.metrics.intervals import Undefined
from harness.metrics.paired import PairedMeans, PairedResult, compare_condition, compare_values, holm
from harness.report import comparison
from harness.report.selection import check_pairable
from harness.report.table import Table
from harness.suites.bases.generated.judges import Judges
from harness.suites.bases.generated.scoring import FEATURES

Comparisons = Iterator[tuple[str, str, PairedResult | PairedMeans]]
"""Names of metrics, their units, and B against A."""


def table(a: RunRecord, b: RunRecord, judges: Judges) -> Table:
    """Differences B minus A: shares of samples by McNemar's test, other means and Frechet distances by Student's t."""
    check_pairable(a, b)
    sides = comparison.common_rows(a, b, "prediction", "log_probability", *FEATURES)
    results = [*_verdicts(*sides), *_by_features(*sides, judges)]
    adjusted = holm([result.p for _, _, result in results])
    data = [_numbers(name, unit, result, p) for (name, unit, result), p in zip(results, adjusted, strict=True)]
    rows = [[row["metric"], _spell(row), comparison.spell_p(row["p"])] for row in data]
    caption = (
        f"{len(sides[0]['id'])} samples from the same noise, paired, beside the same reference. p: exact McNemar for "
        "accuracy and precision, else Student's t of the samples' differences, of the Frechet distance of their "
        "influences on it"
    )
    caption += comparison.several(len(rows)) + comparison.coverages(a, b)
    return Table(comparison.versus(a, b), ["metric", "B minus A", "p"], rows, caption, data=data)


def _verdicts(a: Mapping[str, Any], b: Mapping[str, Any]) -> Comparisons:
    """The judge's accuracy and log-probability."""
    yield "accuracy", "points", compare_condition(*(rows["prediction"] == rows["label"] for rows in (a, b)))
    yield from _means("log probability", "nats", a["log_probability"], b["log_probability"])


def _by_features(a: Mapping[str, Any], b: Mapping[str, Any], judges: Judges) -> Comparisons:
    """Metrics that are a mean over samples, or to first order a sum of their influences, by both networks."""
    for extractor, column in zip(judges.both, FEATURES, strict=True):
        if len(a[column]) < judges.needed(extractor):
            continue
        reference = judges.reference(extractor)
        distance = full_name("fd", extractor.name, extractor.published)
        values = _frechet(a[column], b[column], judges.target(extractor))
        yield from _means(f"{distance}, lower is better", "", *values)
        near_a, near_b = (neighbours(rows[column], reference) for rows in (a, b))
        yield f"precision[{extractor.name}]", "points", compare_condition(near_a.precise, near_b.precise)
        yield from _means(f"density[{extractor.name}]", "", near_a.held, near_b.held)


def _means(name: str, unit: str, a: NDArray[Any], b: NDArray[Any]) -> Comparisons:
    """Two means; nothing where all samples differ by as much, as those of one record from themselves."""
    with suppress(Undefined):
        yield name, unit, compare_values(a, b)


def _frechet(a: NDArray[Any], b: NDArray[Any], reference: Moments) -> tuple[NDArray[Any], NDArray[Any]]:
    """Each side's Frechet distance plus its samples' influences, whose mean is 0: they are the spread around it."""
    distance_a, distance_b = (frechet(features, reference).value for features in (a, b))
    influence_a, influence_b = (influence(features, moments(features), reference) for features in (a, b))
    return distance_a + influence_a, distance_b + influence_b


def _numbers(name: str, unit: str, result: PairedResult | PairedMeans, p: float) -> dict[str, Any]:
    """One row, unrounded, shares as fractions."""
    low, high = map(float, result.interval)
    ends = {"difference": result.difference, "low": low, "high": high}
    return {"metric": name, "unit": unit, **ends, "n": result.n, "p": p}


def _spell(row: Mapping[str, Any]) -> str:
    scale = 100 if row["unit"] == "points" else 1
    value, low, high = (f"{scale * row[end]:+.3g}" for end in ("difference", "low", "high"))
    return f"{value} [{low}, {high}] {row['unit']}".rstrip()
