"""Tables of analyses: a metric a row and a network a column, or a diffusion time a row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from harness.analysis.record import AnalysisRecord, TimesRecord
from harness.report.posthoc.generated import heading, spelled
from harness.report.table import Table
from harness.types import Metric


def analysis_table(record: AnalysisRecord) -> Table:
    """The metrics of all networks side by side; blank where one has left a metric out."""
    rows: dict[tuple[str, str], dict[str, Metric]] = {}
    for model in record.models:
        for metric in model.metrics:
            rows.setdefault((heading(metric), metric.condition), {})[model.name] = metric
    names = [model.name for model in record.models]
    cells = [
        [name, condition, *(spelled(by_model[model]) if model in by_model else "" for model in names)]
        for (name, condition), by_model in rows.items()
    ]
    data = [_data({"model": model.name}, metric) for model in record.models for metric in model.metrics]
    title = f"Features of classifiers on {record.train.name}"
    return Table(title, ["metric", "condition", *names], cells, _caption(record), data=data, names=2)


def times_table(record: TimesRecord) -> Table:
    """The accuracy of a linear probe by diffusion time."""
    rows = [[f"{score.time}", spelled(score.accuracy), f"{score.accuracy.n}"] for score in record.times]
    data = [_data({"time": score.time}, score.accuracy) for score in record.times]
    caption = (
        f"Linear probe of the layer {record.spec['layer']!r}, means over positions, by five-fold cross-validation over "
        f"{record.train.n} training images of {record.train.name}. Intervals: 95 %, of Clopper and Pearson over "
        f"images. Best time: {record.best}."
    )
    title = f"Features of {record.denoiser} by diffusion time"
    return Table(title, ["time", "accuracy (%)", "n"], rows, caption, data=data)


def _caption(record: AnalysisRecord) -> str:
    test = record.test.n if record.test else 0
    sentences = [f"Learnt on {record.train.n} training images, measured on {test} others, 95 % intervals."]
    sentences += [f"{name}: {text}" for name, text in record.methods.items()]
    for model in record.models:
        sentences.append(f"{model.name}: {model.dimension} features, SHA-256 {model.sha256[:12]}.")
        sentences += model.notes
        sentences += [f"Left out of {model.name}: {name}, because {why}" for name, why in model.left_out.items()]
    return " ".join(sentences)


def _data(first: Mapping[str, Any], metric: Metric) -> Mapping[str, Any]:
    """A row of unrounded numbers."""
    numbers = {key: value for key, value in asdict(metric).items() if key != "interval"}
    return {**first, **numbers, "low": metric.interval[0], "high": metric.interval[1]}
