"""The evaluation loop: from a specification to records, resumable at any moment."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch

from harness import plugins, weights
from harness.diffusion.denoiser import Denoiser
from harness.networks import TiledClassifier, Tiles, place
from harness.record import SCHEMA, Cost, Journal, Rows, RunRecord, environment, key_of
from harness.tally import tally
from harness.types import Batch, Columns, Condition, Dataset, HarnessError, Pair, RunSpec, Suite, Weights
from harness.views import BatchViews

PART = 200
"""Samples per part on disk: what a killed run loses at most, per condition. A multiple of every method's group."""


@dataclass(frozen=True)
class Tick:
    """Progress after a batch: images done (one per sample and condition), of how many, under which condition."""

    done: int
    total: int
    condition: str


Report = Callable[[Tick], None]


@dataclass(frozen=True)
class Part:
    """The unit that is computed and written in one piece: some samples of one condition."""

    name: str
    condition: Condition
    indices: range


@dataclass(frozen=True, eq=False)
class Job:
    """A specification with everything it names loaded and checked: what `run` works on and `--dry-run` describes."""

    spec: RunSpec
    suite: Suite
    data: Dataset
    pairs: Sequence[Pair]
    journals: Sequence[Journal]
    models: dict[str, Weights]
    denoiser: Denoiser | None
    denoiser_weights: Weights | None
    tiles: Tiles
    parts: Sequence[Part]


def prepare(spec: RunSpec, out: Path | str) -> Job:
    """Load what a specification names; every mistake in it is reported here, before any work is done."""
    _, suite = plugins.suite.configure(spec.suite)
    data = suite.open(suite.conditions()[0], spec.seed)
    procedures = {name: plugins.method.configure(name)[1] for name in spec.methods}
    denoiser, denoiser_weights = weights.find_denoiser(spec.denoiser) if spec.denoiser else (None, None)
    group = max([getattr(p, "group", 1) for p in procedures.values()])
    classifier_tiles = Tiles(spec.tile, spec.device, spec.dtype)
    models, pairs = {}, []
    for name in spec.models:
        network, found = weights.find_classifier(name)
        models[name] = replace(found, name=name)
        classifier = TiledClassifier(network, classifier_tiles)
        _check_outputs(name, classifier, data)
        pairs += [Pair(name, method, classifier, procedure) for method, procedure in procedures.items()]
    if denoiser:
        denoiser.check_times(tally(procedures.values()).times)
        place(denoiser.network, spec.device)
    tile = max(spec.tile // group, 1) * group
    tiles = Tiles(tile, spec.device, spec.denoiser_dtype, multiple=group)
    job = Job(spec, suite, data, pairs, [], models, denoiser, denoiser_weights, tiles, _parts(spec, suite, data))
    journals = [Journal(Path(out), spec.suite, p.model, p.method, key_of(_identity(job, p))) for p in pairs]
    return replace(job, journals=journals)


def run(
    job: Job,
    *,
    batch_size: int = 0,
    shard: tuple[int, int] = (0, 1),
    fresh: bool = False,
    report: Report = lambda t: None,
) -> list[Path]:
    """Evaluate what is missing, shard by shard, and write the records that became complete; returns their paths."""
    if fresh:
        for journal in job.journals:
            journal.clear()
    mine = job.parts[shard[0] :: shard[1]]
    step = _round_up(batch_size or _batch_size(job), job.tiles.multiple)
    done, total = 0, sum(len(part.indices) for part in mine)
    for part in mine:
        todo = [i for i, journal in enumerate(job.journals) if not journal.done() and not journal.has(part.name)]
        for offset in _evaluate(job, todo, part, step) if todo else ():
            report(Tick(done + offset, total, part.condition.name))
        done += len(part.indices)
        report(Tick(done, total, part.condition.name))
    return [
        path for pair, journal in zip(job.pairs, job.journals, strict=True) if (path := _finish(job, pair, journal))
    ]


def _evaluate(job: Job, todo: list[int], part: Part, step: int) -> Iterator[int]:
    """Evaluate one part for the pairs that lack it, batch by batch, and write it; yields the samples done so far."""
    data = job.suite.open(part.condition, job.spec.seed)
    collected: list[list[Rows]] = [[] for _ in todo]
    start, calls, halved = time.perf_counter(), 0, job.tiles.halved
    for first in range(0, len(part.indices), step):
        batch = data.read(part.indices[first : first + step])
        views = BatchViews(batch, job.denoiser, job.tiles, job.spec.seed)
        observed = job.suite.observe(views, batch.labels, [job.pairs[i] for i in todo])
        for rows, columns in zip(collected, observed, strict=True):
            rows.append(_rows(batch, part.condition, columns))
        calls += views.calls
        yield first + len(batch)
    seconds = time.perf_counter() - start
    cost = {"seconds": seconds, "denoiser_calls": calls, "halvings": job.tiles.halved - halved, "pairs": len(todo)}
    for i, rows in zip(todo, collected, strict=True):
        job.journals[i].write(part.name, {name: np.concatenate([r[name] for r in rows]) for name in rows[0]}, cost)


def _rows(batch: Batch, condition: Condition, columns: Columns) -> Rows:
    keys = {"id": np.array(batch.ids), "condition": np.full(len(batch), condition.name), "label": batch.labels.numpy()}
    return {**keys, **{name: column.numpy() for name, column in columns.items()}}


def _finish(job: Job, pair: Pair, journal: Journal) -> Path | None:
    """The record of one pair, written if all its parts are there; None while other shards still work on it."""
    names = [part.name for part in job.parts]
    if not journal.done() and all(journal.has(name) for name in names):
        try:
            rows, cost = journal.read(names)
        except FileNotFoundError:
            # Another shard may have written the record and dropped the parts between our look and our read.
            if not journal.done():
                raise
        else:
            journal.finish(rows, lambda samples: _record(job, pair, rows, cost, samples))
    return journal.file if journal.done() else None


def _record(job: Job, pair: Pair, rows: Rows, cost: dict[str, float], samples: dict[str, Any]) -> RunRecord:
    metrics, notes = job.suite.summarise(rows)
    spec = _spec_of(job, pair)
    per_condition = len(set(rows["id"]))
    step = f" (every {spec.every}th)" if spec.every > 1 else " (the first ones)" if spec.limit else ""
    whole = per_condition == len(job.data.ids)
    return RunRecord(
        status="complete" if whole else "partial",
        coverage=f"{per_condition} of {len(job.data.ids)} images" + ("" if whole else step),
        suite=spec.suite,
        suite_version=job.suite.version,
        dataset=job.suite.dataset,
        facts=dict(job.suite.facts()),
        model=job.models[pair.model],
        method=pair.method,
        denoiser=job.denoiser_weights if spec.denoiser else None,
        spec=spec,
        data_sha256=job.data.sha256,
        geometry=job.data.geometry,
        key=key_of(_identity(job, pair)),
        columns=tuple(job.suite.columns),
        metrics=metrics,
        notes=notes,
        samples=samples,
        environment=environment(spec.device),
        cost=Cost(
            seconds=round(cost["seconds"], 2),
            images=len(rows["id"]),
            denoiser_calls=int(cost["denoiser_calls"]),
            method_calls_per_image=tally([pair.procedure]).denoiser,
            pairs=round(cost["pairs"] / len(job.parts)),
            tile_halvings=int(cost["halvings"]),
        ),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _spec_of(job: Job, pair: Pair) -> RunSpec:
    """The specification that makes this pair's record alone; the denoiser is named only where the method uses it."""
    uses = tally([pair.procedure]).denoiser > 0
    return replace(
        job.spec,
        models=(pair.model,),
        methods=(pair.method,),
        denoiser=job.spec.denoiser if uses else None,
        denoiser_dtype=job.spec.denoiser_dtype if uses else "float32",
    )


def _identity(job: Job, pair: Pair) -> dict[str, Any]:
    spec = _spec_of(job, pair)
    return {
        "schema": SCHEMA,
        "spec": asdict(spec),
        "version": job.suite.version,
        "facts": dict(job.suite.facts()),
        "model": job.models[pair.model].sha256,
        "method": plugins.method[pair.method.partition(":")[0]].source,
        "denoiser": job.denoiser_weights.sha256 if job.denoiser_weights and spec.denoiser else "",
        "data": job.data.sha256,
    }


def _parts(spec: RunSpec, suite: Suite, data: Dataset) -> list[Part]:
    """Every part of the run, in the order of the sample table."""
    picked = range(0, len(data.ids), spec.every)
    picked = picked[: spec.limit] if spec.limit else picked
    return [
        Part(f"{c:04d}-{p:04d}", condition, picked[start : start + PART])
        for c, condition in enumerate(suite.conditions())
        for p, start in enumerate(range(0, len(picked), PART))
    ]


def _check_outputs(name: str, classifier: TiledClassifier, data: Dataset) -> None:
    image = data.read([0]).images
    try:
        logits = classifier(image)
    except (RuntimeError, AssertionError, ValueError, TypeError) as error:
        raise HarnessError(f"Model {name!r} failed on an image of shape {tuple(image.shape)}: {error}") from error
    if logits.shape != (1, data.num_classes):
        raise HarnessError(
            f"Model {name!r} gives outputs of shape {tuple(logits.shape)} for one image; "
            f"{data.name!r} has {data.num_classes} classes, so (1, {data.num_classes}) was expected."
        )


def _round_up(number: int, multiple: int) -> int:
    return -(-number // multiple) * multiple


def _batch_size(job: Job) -> int:
    """A tile full of images, or as many as a tenth of the free memory holds with all their views."""
    free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    per_image = job.data.read([0]).images.numel() * torch.float32.itemsize * 64
    return max(1, min(job.tiles.size, free // 10 // per_image))
