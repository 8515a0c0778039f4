"""From the rows of a pair to its record."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from harness import plugins
from harness.base.errors import Notice
from harness.base.provenance import environment
from harness.evaluation import suspicion
from harness.evaluation.job import Job
from harness.evaluation.records.record import Cost, RunRecord, Samples
from harness.evaluation.records.rows import Rows
from harness.models.matching import data_classes
from harness.models.tiles import TiledClassifier
from harness.types import Pair
from harness.types.weights import LIVE


def record_of(
    job: Job,
    index: int,
    rows: Rows,
    cost: Mapping[str, float],
    samples: Samples,
    devices: Sequence[str],
    environments: Sequence[Mapping[str, Any]],
) -> RunRecord:
    """The record of the pair at this index.

    rows: its whole sample table. cost: summed over its parts. samples: see `RunRecord`. devices: notes on the devices
    that computed it, see `harness.evaluation.preflight.resume.notes`. environments: of these, each once.
    """
    metrics, notes = job.suite.summarise(rows)
    pair = job.pairs[index]
    model_notes = [*_live(job, pair), *job.notes.get(pair.model, ()), *_features(job, pair)]
    record = _without_metrics(job, index, len(set(rows["id"])), samples, cost)
    doubts = _doubts(job, index, rows)
    said = getattr(job.suite, "notes_on", lambda method: ())(pair.method)
    made = merged(environments) if environments else record.environment
    return replace(
        record,
        metrics=metrics,
        environment=made,
        notes=[*model_notes, *said, *doubts, *notes, *devices, *job.left_out(rows)],
    )


def merged(environments: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """One environment of several: what they share, and where they differ all values in a text."""
    values = {name: list(dict.fromkeys(one.get(name) for one in environments)) for name in environments[0]}
    return {name: found[0] if len(found) == 1 else ", ".join(map(str, found)) for name, found in values.items()}


def _doubts(job: Job, index: int, rows: Rows) -> list[str]:
    """Notes on results that look wrong, which are notices, too."""
    pair = job.pairs[index]
    at_chance = suspicion.of_rows(rows, job.suite.conditions(), job.suite.dataset, job.data.num_classes)
    for note in at_chance:
        warnings.warn(Notice(f"{job.spec.suite}, {pair.model} under {pair.method_name}: {note}"), stacklevel=3)
    return [*suspicion.of_probe(job.probes[index]), *at_chance]


def _features(job: Job, pair: Pair) -> Sequence[str]:
    """A note on the layer that a detector looks at, also where other processes computed every part."""
    if plugins.detector.kind not in job.axis.kinds:
        return ()
    assert isinstance(pair.classifier, TiledClassifier)
    pair.classifier.shown(job.shown)
    return pair.classifier.notes


def _live(job: Job, pair: Pair) -> list[str]:
    """A note on what only the process had that made this record; none where a command line can name everything."""
    objects = [f"model {pair.model!r}"] if pair.weights.source == LIVE else []
    objects += [f"{kind} {entry.name!r}" for kind, entry in job.entries(pair) if entry.origin.live]
    names = " and ".join(objects)
    return [f"From Python, with a live object as {names}: the command line cannot replay this record."] if names else []


def trial_record(job: Job, index: int) -> RunRecord:
    """The record that a run without gaps will give a pair, but for metrics, costs and the sample table's hash."""
    samples: Samples = {
        "file": job.journals[index].file.with_suffix(".parquet").name,
        "sha256": "0" * 64,
        "rows": job.planned,
    }
    cost = {"seconds": 0.0, "denoiser_calls": 0, "pairs": len(job.pairs) * len(job.parts), "halvings": 0}
    return _without_metrics(job, index, job.planned_images, samples, cost)


def _without_metrics(job: Job, index: int, images: int, samples: Samples, cost: Mapping[str, float]) -> RunRecord:
    """Everything but metrics and notes. images: source images in the sample table."""
    pair = job.pairs[index]
    spec = job.spec_of(pair)
    calls = job.tally([pair])
    stride = f" ({spec.stride})" if spec.every > 1 else " (the first ones)" if spec.limit else ""
    status = job.status(samples["rows"])
    return RunRecord(
        status=status,
        coverage=f"{images} of {job.image_count} images" + ("" if status == "complete" else stride),
        suite=spec.suite,
        suite_version=job.suite.version,
        dataset=job.suite.dataset,
        facts=dict(job.suite.facts()),
        model=job.models[pair.model],
        method=pair.method_name,
        denoiser=job.denoiser_weights if spec.denoiser else None,
        spec=spec,
        data_sha256=job.data_sha256,
        geometry=job.data.geometry,
        key=job.key(pair),
        columns=tuple(job.suite.shown),
        metrics=(),
        notes=(),
        samples=samples,
        environment=environment(spec.device),
        cost=Cost(
            seconds=round(cost["seconds"], 2),
            images=samples["rows"],
            denoiser_calls=int(cost["denoiser_calls"]),
            method_calls_per_image=calls.denoiser,
            at_most=calls.at_most,
            pairs=round(cost["pairs"] / len(job.parts)),
            tile_halvings=int(cost["halvings"]),
            denoiser_gradients_per_image=calls.denoiser_gradients,
            classifier_calls_per_image=calls.classified,
            classifier_gradients_per_image=calls.classifier_gradients,
        ),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        plugins=job.origins(pair),
        probe=job.probes[index].to_json(),
        classes=data_classes(job.data),
        conditions=len(job.suite.conditions()),
        aside=getattr(job.suite, "aside", lambda method, text: "")(pair.method, pair.method_name),
    )
