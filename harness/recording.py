"""From the rows of a pair to its record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from harness.job import Job
from harness.matching import data_classes
from harness.provenance import environment
from harness.record import Cost, RunRecord, Samples
from harness.tables import Rows


def record_of(
    job: Job, place: int, rows: Rows, cost: Mapping[str, float], samples: Samples, devices: Sequence[str]
) -> RunRecord:
    """The record of the pair at this place.

    rows: its whole sample table. cost: summed over its parts. samples: see `RunRecord`. devices: notes on the devices
    that computed it, see `harness.resume.notes`.
    """
    pair, (metrics, notes) = job.pairs[place], job.suite.summarise(rows)
    spec = job.spec_of(pair)
    images = len(set(rows["id"]))
    needs = job.tally([pair])
    step = f" ({spec.stride})" if spec.every > 1 else " (the first ones)" if spec.limit else ""
    status = job.status(len(rows["id"]))
    return RunRecord(
        status=status,
        coverage=f"{images} of {job.sources} images" + ("" if status == "complete" else step),
        suite=spec.suite,
        suite_version=job.suite.version,
        dataset=job.suite.dataset,
        facts=dict(job.suite.facts()),
        model=job.models[pair.model],
        method=pair.method,
        denoiser=job.denoiser_weights if spec.denoiser else None,
        spec=spec,
        data_sha256=job.data_sha256,
        geometry=job.data.geometry,
        key=job.key(pair),
        columns=tuple(job.suite.shown),
        metrics=metrics,
        notes=[*job.notes.get(pair.model, ()), *notes, *devices, *job.left_out(rows)],
        samples=samples,
        environment=environment(spec.device),
        cost=Cost(
            seconds=round(cost["seconds"], 2),
            images=len(rows["id"]),
            denoiser_calls=int(cost["denoiser_calls"]),
            method_calls_per_image=needs.denoiser,
            at_most=needs.at_most,
            pairs=round(cost["pairs"] / len(job.parts)),
            tile_halvings=int(cost["halvings"]),
        ),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        plugins=job.origins(pair),
        probe=job.probes[place].to_json(),
        classes=data_classes(job.data),
    )
