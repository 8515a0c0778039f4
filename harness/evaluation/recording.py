"""From the rows of a pair to its record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from harness.base.provenance import environment
from harness.evaluation.job import Job
from harness.evaluation.records.record import Cost, RunRecord, Samples
from harness.evaluation.records.rows import Rows
from harness.models.matching import data_classes


def record_of(
    job: Job, index: int, rows: Rows, cost: Mapping[str, float], samples: Samples, devices: Sequence[str]
) -> RunRecord:
    """The record of the pair at this index.

    rows: its whole sample table. cost: summed over its parts. samples: see `RunRecord`. devices: notes on the devices
    that computed it, see `harness.evaluation.preflight.resume.notes`.
    """
    metrics, notes = job.suite.summarise(rows)
    pair = job.pairs[index]
    model_notes = [*job.notes.get(pair.model, ()), *getattr(pair.classifier, "notes", ())]
    record = _without_metrics(job, index, len(set(rows["id"])), samples, cost)
    return replace(record, metrics=metrics, notes=[*model_notes, *notes, *devices, *job.left_out(rows)])


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
        ),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        plugins=job.origins(pair),
        probe=job.probes[index].to_json(),
        classes=data_classes(job.data),
        conditions=len(job.suite.conditions()),
    )
