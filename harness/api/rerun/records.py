"""Repeat the run of a record."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from harness.api.machine import threads, usable_device
from harness.api.rerun.origins import check_loaded
from harness.api.rerun.verdict import DIFFERS, Differences, Verdict, changed, compare_metrics, compare_rows
from harness.api.weight_files import fetch_missing
from harness.base.errors import Absent, HarnessError
from harness.evaluation import loop
from harness.evaluation.job import Job
from harness.evaluation.prepare import prepare
from harness.evaluation.records import record as records
from harness.evaluation.records.coverage import has_skipped
from harness.evaluation.records.record import RunRecord
from harness.evaluation.records.rows import Rows
from harness.evaluation.request import Request
from harness.models.published.locate import WeightFiles
from harness.plugins.settings import moved
from harness.types import RunSpec
from harness.types.weights import LIVE


def rerun_record(
    record: RunRecord,
    out: Path,
    weight_files: WeightFiles,
    *,
    data: str = "",
    every: int = 1,
    limit: int = 0,
    report: loop.Report = lambda progress: None,
) -> Verdict:
    """Run a record's specification again, into the folder `out`, and compare the rows, metrics and hashes.

    data: folder of the data, where it has moved. every, limit: of the record's own samples, every k-th, and at most
    so many per condition. Where the record leaves out images that could not be read, the repetition does so, too.
    Raises HarnessError for what cannot be repeated.
    """
    check_repeatable(record)
    then = record.rows()
    spec = repeated(record.spec, data, every, limit)
    request = Request.of(spec)
    _check_groups(request, every, limit)
    job = prepared(request, out, weight_files, skip_bad=has_skipped(record.notes))
    if inputs := list(other_inputs(record, job)):
        return Verdict(DIFFERS, ["Nothing was computed, since other inputs give other numbers.", *inputs])
    paths = loop.run(job, workers=threads("auto", job.datasets.values()), report=report)
    return _compared(record, then, records.load(paths[0]), whole=spec == replace(record.spec, suite=spec.suite))


def check_repeatable(record: RunRecord) -> None:
    """Raise HarnessError for a record of plugins that are not loaded, or of a network without a file."""
    check_loaded(str(record.path), record.plugins)
    if record.model.source == LIVE:
        raise HarnessError(
            f"{record.path}: its model {record.model.name!r} was a live object, whose weights have no file. "
            "Evaluate it again from Python."
        )


def prepared(request: Request, out: Path, weight_files: WeightFiles, *, skip_bad: bool) -> Job:
    """The job of a record's request; published weights that are missing are fetched. See `prepare`."""
    fetch_missing([*request.spec.models, request.spec.denoiser or ""], weight_files)
    try:
        return prepare(request, out, skip_bad=skip_bad, weight_files=weight_files)
    except Absent as error:
        raise HarnessError(f"{error} Data that has moved: --data DIR; weights: --weights NAME=FILE.") from error


def repeated(spec: RunSpec, data: str, every: int, limit: int) -> RunSpec:
    """The specification again: of a part of its samples, with its data in another folder."""
    suite = moved(spec.suite, data) if data else spec.suite
    most = min(filter(None, [limit, -(-spec.limit // every)]), default=0)
    device = usable_device(spec.device)
    return replace(spec, suite=suite, every=spec.every * every, limit=most, device=device)


def _check_groups(request: Request, every: int, limit: int) -> None:
    """Raise HarnessError where a part of the samples would form other groups than all of them."""
    for method in request.methods:
        group = getattr(method.plugin, "group", 1)
        if group > 1 and (every > 1 or limit % group):
            raise HarnessError(
                f"{method.text} computes images in groups of {group}: leave out --every, and give a --limit that is a "
                f"multiple of {group}."
            )


def other_inputs(record: RunRecord, job: Job) -> Iterator[str]:
    """Sentences on hashes of weights and data, and on the version of the suite, that are not the record's."""
    hashes = [("model", record.model.sha256, job.models[record.spec.models[0]].sha256)]
    if record.denoiser and job.denoiser_weights:
        hashes.append(("denoiser", record.denoiser.sha256, job.denoiser_weights.sha256))
    hashes.append(("data", record.data_sha256, job.data_sha256))
    for name, then, now in hashes:
        if then != now:
            yield f"{name} had SHA-256 {then[:12]}..., has {now[:12]}...."
    facts = {**record.facts, "version": record.suite_version}
    for text in changed(facts, {**job.suite.facts(), "version": job.suite.version}):
        yield f"{record.suite}: {text}."


def _compared(record: RunRecord, then: Rows, again: RunRecord, whole: bool) -> Verdict:
    """The verdict on a repetition. whole: it has all samples of the record."""
    now = again.rows()
    share = f"{len(now['id']):,} of {len(then['id']):,} rows" if len(now["id"]) < len(then["id"]) else "All rows"
    findings = Differences(f"{share}{', all metrics and the key' if whole else ''} compared.", [])
    compare_rows(findings, then, now)
    if whole:
        if len(now["id"]) != len(then["id"]):
            findings.differences.append(f"the number of rows, {len(then['id'])} then, {len(now['id'])} now")
        if record.key != again.key:
            findings.differences.append(f"the key, {record.key} then, {again.key} now")
        compare_metrics(findings, record.metrics, again.metrics)
    return findings.verdict(changed(record.environment, again.environment))
