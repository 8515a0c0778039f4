"""The evaluation loop: from a specification to records, resumable at any moment."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import torch

from harness import resume, tables
from harness.data import Feed
from harness.data.contents import check_counted
from harness.files import check_writable, sweep
from harness.job import Job
from harness.journal import Journal, tell_damage
from harness.meter import Meter
from harness.parts import Part
from harness.prepare import prepare as prepare
from harness.recording import record_of
from harness.tables import Rows
from harness.types import Batch, Dataset, HarnessError, Pair, Scene
from harness.views import BatchViews

KEEP_EVERY = 20.0
"""Seconds between two interim states of a part on disk."""


@dataclass(frozen=True)
class Tick:
    """Progress after a batch, in images, one per sample and condition.

    done: of `total`, including what was on disk. computed: in this run.
    stage: a step of the preparation that these are the images of; "" for the evaluation itself.
    waiting: share of the time so far in which nothing could be computed for want of data.
    """

    done: float
    computed: float
    total: int
    condition: str
    stage: str = ""
    waiting: float = 0.0


Report = Callable[[Tick], None]


def run(
    job: Job,
    *,
    batch_size: int = 0,
    shard: tuple[int, int] = (0, 1),
    fresh: bool = False,
    workers: int = 0,
    skip_bad: bool = False,
    report: Report = lambda t: None,
) -> list[Path]:
    """Evaluate what is missing, shard by shard, and write the records that became complete; returns their paths.

    workers: threads that read ahead, see `harness.data.ordered`; no number depends on it.
    skip_bad: images that cannot be read are left out, and the records are partial.
    """
    if skip_bad and job.tiles.multiple > 1:
        raise HarnessError(
            "--on-bad-image skip: an image left out would move the others into other groups of four, on which "
            "dda:norm=batch4 depends. Mend the images, or use dda as it is."
        )
    for data in () if skip_bad else job.datasets.values():
        check_counted(data)
    if fresh and shard[1] > 1:
        raise HarnessError("--fresh deletes what the other shards are writing. Give the shards a new --out instead.")
    if fresh:
        _forget(job)
    resume.verify(job)
    mine = job.parts[shard[0] :: shard[1]]
    work = _missing(job, mine, skip_bad)
    pairs = _prepared(job, sorted({i for todo in work.values() for i in todo}), report)
    step = _round_up(batch_size or _batch_size(job), job.tiles.multiple)
    done, computed, total = 0, 0.0, sum(len(part.indices) for part in mine)
    waiting = _batches(job, [p for p in mine if work[p.name]], step)
    with closing(Feed(waiting, workers, skip_bad, job.spec.device.startswith("cuda"))) as feed:
        for part in mine:
            todo, kept, name = work[part.name], 0.0, part.condition.name
            for offset, kept in _evaluate(job, pairs, todo, part, step, feed) if todo else ():
                report(Tick(done + offset, computed + offset - kept, total, name, waiting=feed.waiting))
            done += len(part.indices)
            computed += len(part.indices) - kept if todo else 0
            report(Tick(done, computed, total, name, waiting=feed.waiting))
    return _finished(job, mine, shard[1] == 1, skip_bad)


def _forget(job: Job) -> None:
    """Delete what is on disk, for ``--fresh``."""
    check_writable(job.out)
    for journal in job.journals:
        journal.clear()
    shutil.rmtree(job.out / resume.LEARNT, ignore_errors=True)


def _missing(job: Job, parts: Sequence[Part], gaps: bool) -> dict[str, list[int]]:
    """For each part, the indices of the pairs that still need it. Damage is told: it is computed anew.

    gaps: parts and records without the images that could not be read will do; otherwise these are made again.
    """
    unfinished = [(i, j) for i, j in enumerate(job.journals) if not _done(job, j, gaps)]
    for journal in job.journals:
        if journal.done(job.planned):
            journal.tidy()
    if unfinished:
        check_writable(job.out)
    for folder in {folder for _, journal in unfinished for folder in journal.folders} | {job.out}:
        sweep(folder)
    missing = {p.name: [i for i, j in unfinished if not j.has(p, not gaps)] for p in parts}
    for i in {i for todo in missing.values() for i in todo}:
        resume.keep(job.journals[i], job.probes[i])
    tell_damage(job.journals)
    return missing


def _done(job: Job, journal: Journal, gaps: bool) -> bool:
    """Whether a record is there, and no worse than this run would make it. gaps: see `_missing`."""
    return journal.done() if gaps else journal.done(job.planned, job.status(job.planned))


def _batches(job: Job, parts: Sequence[Part], step: int) -> Iterator[tuple[Dataset, Sequence[int]]]:
    """What is read, in the order of the parts."""
    for part in parts:
        for start in range(0, len(part.indices), step):
            yield job.datasets[part.condition.name], part.indices[start : start + step]


def _prepared(job: Job, needed: Sequence[int], report: Report) -> dict[int, Pair]:
    """The pairs that still have work to do, by their place, as the suite prepares them."""
    if not needed:
        return {}

    def look(batch: Batch) -> BatchViews:
        return BatchViews(batch, job.denoiser, job.tiles, job.spec.seed)

    ready = job.suite.prepare(
        [job.pairs[i] for i in needed],
        look,
        job.out / resume.LEARNT,
        lambda stage: report(Tick(stage.done, stage.done, stage.total, "", stage.name)),
    )
    return dict(zip(needed, ready, strict=True))


def _evaluate(
    job: Job, prepared: Mapping[int, Pair], todo: list[int], part: Part, step: int, feed: Feed
) -> Iterator[tuple[float, float]]:
    """Evaluate one part for the pairs that lack it, batch by batch as they come out of the feed, and write it.

    Yields the samples done so far, and how many of these an interrupted run had left.
    """
    collected: list[list[Rows]] = [[] for _ in todo]
    pairs, journals = [prepared[i] for i in todo], [job.journals[i] for i in todo]
    interim = [journal.interim(part) for journal in journals]
    tell_damage(journals)
    meter, kept = Meter(job, [cost for _, cost in interim]), 0.0

    def keep(begun: Sequence[Rows] | None = None, calls: int = 0) -> None:
        for k, (journal, (old, _), cost) in enumerate(zip(journals, interim, meter.read(calls), strict=True)):
            rows = [tables.marked(done, True) for done in collected[k]]
            rows += [tables.marked(begun[k], False)] if begun else []
            journal.write(part, tables.with_rest(tables.joined(rows), old), cost, interim=True)

    for first in range(0, len(part.indices), step):
        batch = next(feed)
        if batch is None:  # none of its images could be read
            continue
        found = [tables.final(rows, batch) for rows, _ in interim]
        if not any(rows is None for rows in found):
            collected = [[*before, now] for before, now in zip(collected, found, strict=True) if now is not None]
            kept += len(batch)
            yield first + len(batch), kept
            continue
        views = BatchViews(batch, job.denoiser, job.tiles, job.spec.seed)
        known = [tables.known(rows, batch) for rows, _ in interim]
        resumed = any(columns is not None for columns in known)
        for seen in job.suite.observe(Scene(part.condition, views, batch.labels, pairs, known)):
            rows = [tables.of_batch(batch, part.condition, columns) for columns in seen.columns]
            if seen.done < 1 and meter.due(KEEP_EVERY):
                keep(rows, views.calls)
            kept, resumed = kept + resumed * seen.done * len(batch), False
            yield first + seen.done * len(batch), kept
        meter.calls += views.calls
        collected = [[*before, now] for before, now in zip(collected, rows, strict=True)]
        if meter.due(KEEP_EVERY):
            keep()
    for journal, batches, cost in zip(journals, collected, meter.read(), strict=True):
        journal.write(part, tables.joined(batches), cost)


def _finished(job: Job, mine: Sequence[Part], alone: bool, gaps: bool) -> list[Path]:
    """The records that are complete. Raises HarnessError where parts of this process are gone.

    alone: there are no other shards, whose parts a record may wait for.
    """
    written = []
    for place, (pair, journal) in enumerate(zip(job.pairs, job.journals, strict=True)):
        path = _finish(job, place, gaps)
        gone = [] if path else [p.name for p in (job.parts if alone else mine) if not journal.has(p, not gaps)]
        # Another shard may have finished the record, and dropped the parts, since.
        if gone and not (path := _finish(job, place, gaps)):
            raise HarnessError(
                f"{len(gone)} of {len(job.parts)} parts of {pair.model} under {pair.method} are no longer in "
                f"{journal.folders[-1]}, such as {gone[0]}: deleted, moved or damaged while this ran. The same command "
                "computes what is missing."
            )
        written += [path] if path else []
    return written


def _finish(job: Job, place: int, gaps: bool) -> Path | None:
    """The record of the pair at this place, written if all its parts are there; None while other shards work on it."""
    journal, probe = job.journals[place], job.probes[place]
    if not _done(job, journal, gaps):
        found = journal.read(not gaps)
        # Another shard may have written the record and dropped the parts between our look and our read.
        if found is None:
            return journal.file if _done(job, journal, gaps) else None
        rows, cost = found
        if not rows:
            raise HarnessError(f"None of the images of {job.data.name!r} can be read. See: harness data check.")
        devices = resume.notes(journal, probe)
        journal.finish(rows, lambda samples: record_of(job, place, rows, cost, samples, devices))
    journal.tidy()
    return journal.file


def _round_up(number: int, multiple: int) -> int:
    return -(-number // multiple) * multiple


def _batch_size(job: Job) -> int:
    """A tile full of images, or as many as a tenth of the free memory holds with all their views.

    Never so few that they leave a tile unfilled, which would be computed all the same: memory that caches could give
    back does not count as free.
    """
    try:
        free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError):  # macOS does not say
        return job.tiles.size
    per_image = job.example.numel() * torch.float32.itemsize * 64
    least = -(-job.tiles.size // job.tally(job.pairs).together)
    return max(least, min(job.tiles.size, free // 10 // per_image))
