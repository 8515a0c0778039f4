"""The evaluation loop: from a job to records, resumable at any moment."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import tee
from pathlib import Path

import torch

from harness.base.errors import Notice
from harness.base.files import check_writable, sweep
from harness.data import ReadAhead
from harness.evaluation.job import Job
from harness.evaluation.launch.claims import WHOLE, Claims
from harness.evaluation.launch.failures import Failures
from harness.evaluation.launch.folder import RunFolder
from harness.evaluation.launch.progress import Counter, Progress, Report
from harness.evaluation.part_in_progress import PartInProgress
from harness.evaluation.preflight import resume
from harness.evaluation.recording import record_of
from harness.evaluation.records.journal import Required, warn_of_losses
from harness.evaluation.records.parts import Part
from harness.evaluation.views.batch import BatchViews
from harness.types import Batch, Dataset, HarnessError, Pair, Unsuited


def run(
    job: Job,
    *,
    batch_size: int = 0,
    claims: Claims = WHOLE,
    fresh: bool = False,
    workers: int = 0,
    report: Report = lambda t: None,
    tolerant: bool = False,
    mixed_devices: bool = False,
) -> list[Path]:
    """Evaluate the parts that are missing, and write the records that became complete; returns the records' paths.

    batch_size: images held at a time; 0 fits the memory. claims: which parts this process computes.
    fresh: compute again what is on disk. workers: threads that read ahead, see `harness.data.ordered`. No number
    depends on any of these. tolerant: a part that fails is tried again, and set aside if it fails the same way; the
    rest goes on, and `Failed` names it at the end. Otherwise any error ends the run. mixed_devices: go on with what
    another kind of device has begun; the record then says so. Pairs that cannot work are left out, with a notice each:
    see `Job.unsuited`; raises `Unsuited` if no other is left.
    """
    folder = RunFolder.of(job)
    if fresh:
        claims.check_fresh(folder)
        _forget(job)
    resume.verify(job)
    candidates = claims.candidates(job.parts)
    lacking = _lacking(job, candidates, mixed_devices)
    prepared = _prepared(job, sorted({index for indices in lacking.values() for index in indices}), report)
    failures = Failures(folder, tolerant)
    if prepared:
        folder.begin(job)
        failures.begin()
    lacks = _Lacks(job, lacking, prepared, failures)
    work = _Work(job, _round_up(batch_size or _batch_size(job), job.tiles.multiple), workers)
    counter = Counter(report, sum(len(part.indices) for part in candidates))
    try:
        for parts in claims.rounds(job.parts, folder, lacks):
            _round(parts, claims, work, lacks, counter)
    finally:
        claims.close()
    finished = _finished(job, [part for part in work.there if not failures.is_set_aside(part)])
    if prepared:
        failures.check()
        folder.end()
    return finished


def _round(parts: Iterable[Part], claims: Claims, work: _Work, lacks: _Lacks, counter: Counter) -> None:
    """Compute the parts; one that fails ends the round, if it does not end the run."""
    try:
        for part in work.evaluated(((part, lacks.of(part)) for part in parts), counter):
            claims.release(part)
    except Exception as error:
        if work.current is None:
            raise
        lacks.failures.note(work.current, error, work.computed)
        claims.abandon()


@dataclass(frozen=True)
class _Lacks:
    """Which pairs lack a part, by what is on disk at the moment of the question; what was there once is there.

    lacking: by part, indices of the pairs that lacked it when the run began. prepared: the pairs, by index.
    failures: no pair lacks a part that is set aside.
    """

    job: Job
    lacking: dict[str, list[int]]
    prepared: Mapping[int, Pair]
    failures: Failures

    def of(self, part: Part) -> Mapping[int, Pair]:
        """The pairs that lack the part, by index."""
        return {index: self.prepared[index] for index in self.lacking[part.name] if index in self.prepared}

    def __call__(self, part: Part) -> bool:
        required = self.job.required
        journals = {index: self.job.journals[index] for index in self.of(part)}
        # Another process that has finished the record has dropped its parts.
        still = [index for index, j in journals.items() if not (j.has(part, required) or j.done(required))]
        if still and self.failures.is_set_aside(part):
            still = []
        self.lacking[part.name] = still
        return bool(still)


class _Work:
    """Computes parts. step: images in a batch. workers: threads that read ahead.

    there: parts that are on disk, or set aside. current: the part at hand, None between two.
    computed: a part was computed here.
    """

    def __init__(self, job: Job, step: int, workers: int) -> None:
        self.there: list[Part] = []
        self.current: Part | None = None
        self.computed = False
        self._job = job
        self._step = step
        self._workers = workers

    def evaluated(self, parts: Iterable[tuple[Part, Mapping[int, Pair]]], counter: Counter) -> Iterator[Part]:
        """The parts, each once it is on disk for the pairs that lack it."""
        job = self._job
        # The reader claims parts some batches before the loop comes to them; both see the same parts.
        to_read, to_evaluate = tee(parts)
        work = _batches(job, (part for part, pairs in to_read if pairs), self._step)
        with closing(ReadAhead(work, self._workers, job.skip_bad, job.spec.device.startswith("cuda"))) as reader:
            counter.readers.append(reader)
            for part, pairs in to_evaluate:
                if pairs:
                    self.current = part
                    _evaluate(job, PartInProgress(job, part, pairs), part, self._step, reader, counter)
                    self.current, self.computed = None, True
                else:
                    counter.pass_over(part)
                self.there.append(part)
                yield part


def _forget(job: Job) -> None:
    """Delete what is on disk, for ``--fresh``."""
    check_writable(job.out)
    for journal in job.journals:
        journal.clear()
    resume.forget_learnt(job.out)


def _lacking(job: Job, parts: Sequence[Part], mixed_devices: bool) -> dict[str, list[int]]:
    """For each part, by its name, the indices of the pairs that still need it. Warns of files that do not count."""
    unfinished = [(index, journal) for index, journal in enumerate(job.journals) if not journal.done(job.required)]
    for journal in job.journals:
        if journal.done(Required(rows=job.planned)):
            journal.tidy()
    if unfinished:
        check_writable(job.out)
    for folder in {folder for _, journal in unfinished for folder in journal.folders} | {job.out}:
        sweep(folder)
    lacking = {
        part.name: [index for index, journal in unfinished if not journal.has(part, job.required)] for part in parts
    }
    for index in {index for indices in lacking.values() for index in indices}:
        if not mixed_devices:
            resume.check_device(job.journals[index], job.probes[index])
        resume.keep(job.journals[index], job.probes[index])
    warn_of_losses(job.journals)
    return lacking


def _prepared(job: Job, needed: Sequence[int], report: Report) -> dict[int, Pair]:
    """The pairs that still have work to do, by their index, as the suite prepares them, without unsuited ones."""
    job.unsuited.clear()
    if not needed:
        return {}
    resume.keep_learnt(job)

    def look(batch: Batch) -> BatchViews:
        return BatchViews(batch, job.denoiser, job.tiles, job.spec.seed)

    ready = job.suite.prepare(
        [job.pairs[index] for index in needed],
        look,
        job.out / resume.LEARNT,
        lambda stage: report(Progress(stage.done, stage.done, stage.total, "", stage.name)),
    )
    prepared = dict(zip(needed, ready, strict=True))
    job.unsuited.update({index: pair.unsuited for index, pair in prepared.items() if pair.unsuited})
    _say_unsuited(job)
    return {index: pair for index, pair in prepared.items() if not pair.unsuited}


def _say_unsuited(job: Job) -> None:
    """One notice per pair that is left out; raises `Unsuited` with all reasons if no pair of the job is left."""
    if len(job.unsuited) == len(job.pairs):
        raise Unsuited("\n".join(job.unsuited.values()))
    for reason in job.unsuited.values():
        warnings.warn(Notice(f"{job.spec.suite}: left out. {reason}"), stacklevel=2)


def _starts(part: Part, step: int) -> range:
    """First positions of the batches of a part."""
    return range(0, len(part.indices), step)


def _batches(job: Job, parts: Iterable[Part], step: int) -> Iterator[tuple[Dataset, Sequence[int]]]:
    """The batches to be read, in the order of the parts: a data set, and positions in it."""
    for part in parts:
        for start in _starts(part, step):
            yield job.datasets[part.condition.name], part.indices[start : start + step]


def _evaluate(job: Job, progress: PartInProgress, part: Part, step: int, reader: ReadAhead, counter: Counter) -> None:
    """Evaluate one part for the pairs that lack it, batch by batch as the reader yields them, and write it."""
    for start in _starts(part, step):
        batch = next(reader)
        if batch is None:  # none of its images could be read
            continue
        if progress.resume(batch):
            counter.report(part, start + len(batch), progress.resumed)
            continue
        for observation in job.suite.observe(progress.begin(batch)):
            progress.add(observation)
            counter.report(part, start + observation.done * len(batch), progress.resumed)
        progress.end()
    progress.finish()
    counter.end(part, progress.resumed)


def _finished(job: Job, parts: Sequence[Part]) -> list[Path]:
    """The records that are complete. Raises HarnessError where one of these parts has disappeared.

    parts: those that must be there, which this process computed or found. Records may wait for the parts of others.
    """
    paths = []
    for index, (pair, journal) in enumerate(zip(job.pairs, job.journals, strict=True)):
        if index in job.unsuited:
            continue
        path = _finish(job, index)
        missing = [] if path else [part.name for part in parts if not journal.has(part, job.required)]
        if missing:
            # Another process may have finished the record, and dropped the parts, since.
            path = _finish(job, index)
        if missing and not path:
            raise HarnessError(
                f"{len(missing)} of {len(job.parts)} parts of {pair.model} under {pair.method_name} are no longer in "
                f"{journal.folders[-1]}, such as {missing[0]}: deleted, moved or damaged while this ran. The same "
                "command computes what is missing."
            )
        if path:
            paths.append(path)
    return paths


def _finish(job: Job, index: int) -> Path | None:
    """The record of the pair at this index, written if all its parts are there; None while others work on it."""
    journal = job.journals[index]
    if not journal.done(job.required):
        contents = journal.read(job.required)
        if contents is None:
            # Another process may have written the record and dropped the parts between our look and our read.
            return journal.file if journal.done(job.required) else None
        rows, cost = contents
        if not rows:
            raise HarnessError(f"None of the images of {job.data.name!r} can be read. See: harness data check.")
        devices, environments = resume.notes(journal, job.probes[index]), journal.environments()
        journal.finish(rows, lambda samples: record_of(job, index, rows, cost, samples, devices, environments))
    journal.tidy()
    return journal.file


def _round_up(number: int, multiple: int) -> int:
    return -(-number // multiple) * multiple


def _batch_size(job: Job) -> int:
    """A tile full of images, or as many as a tenth of the free memory holds with all their views.

    Never so few that they leave a tile unfilled: a tile costs the same, filled or not. Memory that caches could give
    back does not count as free.
    """
    try:
        free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError):  # macOS does not say
        return job.tiles.size
    per_image = job.example.numel() * torch.float32.itemsize * 64
    least = -(-job.tiles.size // job.tally(job.pairs).together)
    return max(least, min(job.tiles.size, free // 10 // per_image))
