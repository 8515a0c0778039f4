"""One record as tables: what was measured, from what, how, and where its files are. Pure: text out."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from harness.evaluation.records.frames import metric_rows
from harness.evaluation.records.record import Cost, RunRecord
from harness.report.leaderboard import covers, spell_calls
from harness.report.names import bundled_names, flag_note, heading, label, spell, spell_flagged, title
from harness.report.table import Table
from harness.types import Weights


def record_tables(entry: RunRecord) -> list[Table]:
    """The tables of a record, to be read one below the other: metrics, then everything that decided them."""
    facts = [
        Table("What was measured", ["", ""], list(_measured(entry))),
        Table("Classifier", ["", ""], list(_weights(entry.model))),
    ]
    if entry.denoiser:
        facts.append(Table("Denoiser", ["", ""], list(_weights(entry.denoiser))))
    groups: dict[str, Mapping[str, Any]] = {
        "Settings": asdict(entry.spec),
        "Environment": entry.environment,
        "Plugin files": entry.plugins,
    }
    facts += [Table(name, ["", ""], _lines(values)) for name, values in groups.items() if values]
    facts.append(Table("Cost", ["", ""], list(_cost(entry.cost))))
    files = Table("Files", ["", ""], list(_files(entry)))
    overall = means(entry)
    return [metrics(entry), *([overall] if overall else []), *facts, files]


def metrics(entry: RunRecord) -> Table:
    """A record's metrics: a row per condition, a column per metric, and the images behind each row."""
    apart = _apart(entry)
    names = [name for name in dict.fromkeys(metric.name for metric in entry.metrics) if name not in apart]
    conditions = list(dict.fromkeys(metric.condition for metric in entry.metrics if metric.name not in apart))
    header = ["condition", "n", *(heading(entry, name, _first(entry, name), bare=True) for name in names)]
    rows = []
    for condition in conditions:
        of_row = {m.name: m for m in entry.metrics if m.condition == condition and m.name in names}
        images = "-".join(
            str(n) for n in sorted({min(m.n for m in of_row.values()), max(m.n for m in of_row.values())})
        )
        rows.append(
            [condition, images, *(spell_flagged(entry, name, condition) if name in of_row else "" for name in names)]
        )
    notes = " ".join(entry.notes)
    caption = " ".join(
        filter(
            None, ["95 % intervals over source images; n: source images.", *covers(names), flag_note([entry]), notes]
        )
    )
    return Table(f"{label(entry)} on {title(entry)}", header, rows, caption, data=_rows_of(entry, apart=False))


def means(entry: RunRecord) -> Table | None:
    """The metrics over all conditions, a row each; None where they are in the table of `metrics`."""
    apart = _apart(entry)
    shown = [metric for metric in entry.metrics if metric.name in apart]
    rows = [[heading(entry, m.name, m.condition, bare=True), str(m.n), spell(m)] for m in shown]
    data = _rows_of(entry, apart=True)
    return Table("Over all conditions", ["metric", "n", "value"], rows, names=2, data=data) if rows else None


def _rows_of(entry: RunRecord, apart: bool) -> list[dict[str, Any]]:
    """The unrounded rows of `means`, or of `metrics`."""
    names = _apart(entry)
    return [row for row in metric_rows(entry) if (row["metric"] in names) == apart]


def _apart(entry: RunRecord) -> set[str]:
    """Names of metrics that have the condition "mean" alone, where others have several conditions."""
    conditions: dict[str, set[str]] = {}
    for metric in entry.metrics:
        conditions.setdefault(metric.name, set()).add(metric.condition)
    apart = {name for name, those in conditions.items() if those == {"mean"}}
    return apart if len(apart) < len(conditions) else set()


def line_of_python(entry: RunRecord) -> str:
    """The line of Python that opens a record's sample table as a pandas frame; its path as it was given."""
    assert entry.path is not None
    return f"import pandas; samples = pandas.read_parquet({str(_sample_table(entry))!a})"


def _sample_table(entry: RunRecord) -> Path:
    assert entry.path is not None
    return entry.path.with_name(entry.samples["file"])


def _first(entry: RunRecord, name: str) -> str:
    return next(metric.condition for metric in entry.metrics if metric.name == name)


def _measured(entry: RunRecord) -> Iterator[list[str]]:
    geometry = entry.geometry
    yield ["suite", f"{entry.suite} v{entry.suite_version}"]
    yield ["data set", f"{entry.dataset}, {entry.coverage}, {entry.status}"]
    yield ["data's SHA-256", entry.data_sha256]
    yield ["images", f"resize {geometry.resize}, crop {geometry.crop}, {geometry.interpolation}"]
    if entry.classes:
        names = ", ".join(entry.classes[:10]) + (", ..." if len(entry.classes) > 10 else "")
        yield ["classes", f"{len(entry.classes)}: {names}"]
    for name, value in sorted(entry.facts.items()):
        yield [name, " ".join(filter(None, [bundled_names().get(value, ""), value]))]
    yield ["method", entry.variant]
    yield ["record", f"{entry.key}, of {entry.created}"]


def _cost(cost: Cost) -> Iterator[list[str]]:
    shared = f", shared by {cost.pairs} pairs of classifier and method of that run" if cost.pairs > 1 else ""
    yield ["images", f"{cost.images}, one per sample and condition"]
    yield ["seconds", f"{cost.seconds:.0f}{shared}"]
    yield ["denoiser calls", f"{cost.denoiser_calls}{shared}"]
    yield ["of the method alone", spell_calls(cost)]
    if cost.classifier_calls_per_image is not None:
        back = f" + {cost.classifier_gradients_per_image} back" if cost.classifier_gradients_per_image else ""
        yield ["its classifier calls", f"{cost.classifier_calls_per_image}{back} / image"]
    if cost.tile_halvings:
        yield ["tile halvings", f"{cost.tile_halvings}, forced by memory: rows agree with other runs to rounding only"]


def _weights(weights: Weights) -> Iterator[list[str]]:
    yield ["name", weights.name]
    yield ["SHA-256", weights.sha256]
    yield ["from", weights.source]
    yield from _lines(weights.details)


def _lines(values: Mapping[str, Any]) -> list[list[str]]:
    """A line per value, in the order of the names; those that are empty go without saying."""
    shown = {name: value for name, value in values.items() if value not in (None, "", [], {}, ())}
    return [[name, _spelled(value)] for name, value in sorted(shown.items())]


def _spelled(value: Any) -> str:
    if isinstance(value, list | tuple) and all(isinstance(part, str | int | float) for part in value):
        return ", ".join(map(str, value))
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True, default=str)


def _files(entry: RunRecord) -> Iterator[list[str]]:
    samples = _sample_table(entry)
    yield ["record", str(entry.path)]
    yield ["sample table", f"{samples}{'' if samples.is_file() else ' (absent)'}"]
    yield ["its rows", f"{entry.samples['rows']}, one per sample and condition"]
    yield ["its SHA-256", entry.samples["sha256"]]
    for doubt in entry.doubts:
        yield ["doubt", doubt]
