"""Comparison of stored with current outputs: probes, kept with the parts and in the record, must agree.

    results/local/.parts/6a5b4c3d2e1f/9f86d081884c-1b4f0e.probe

Names and hashes are the same where a module that a plugin imports by a detour, a constant or a library has changed; the
outputs are not. On another device of the same kind they may differ by rounding that adds up; the record says so.

Features that detectors learnt from lie in a separate folder, under the classifier's name and weights. They outlive
records and parts, and so does the classifier's probe beside them.
"""

from __future__ import annotations

import json
import shutil
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from harness import plugins
from harness.base import sealed
from harness.base.errors import Notice
from harness.base.files import check_writable
from harness.base.parsing import parse_json
from harness.evaluation.job import Job
from harness.evaluation.records.journal import Journal
from harness.evaluation.records.record import key_of, load
from harness.models.probe import Probe, spell
from harness.types import NO_CLASSIFIER, HarnessError, Pair

LEARNT = ".learnt"
"""Folder in the results folder for features and settings that suites learn before the first image."""


def verify(job: Job) -> None:
    """Start the pairs anew whose networks or methods give other outputs than when their record or parts were made."""
    for pair, journal, probe in zip(job.pairs, job.journals, job.probes, strict=True):
        for file, older in _stored(journal):
            if older is None:
                _warn(f"{file} is damaged: the parts of {pair.model} under {pair.method_name} are computed anew.")
                journal.clear_parts()
                break
            differences = probe.differences(older)
            if differences and older.device != probe.device and file == journal.file:
                _warn(f"{file} was computed on {older.device}; on {probe.device} outputs differ: {spell(differences)}.")
            elif differences and older.device == probe.device:
                reason = f"it gives other outputs than when {file} was made: {spell(differences)}"
                _start_anew(job, pair, journal, f"{reason}. Code, a library or weights changed that no hash covers")
                break
    _verify_learnt(job)


def _verify_learnt(job: Job) -> None:
    """Delete learnt features of a classifier that now gives other outputs; records and parts may be gone by then."""
    for pair, probe in _classifiers(job).items():
        file = _learnt_probe(job, pair, probe)
        try:
            older = _read(file)
        except FileNotFoundError:
            continue
        differences = probe.differences(older) if older else {}
        if differences:
            check_writable(job.out)
            _warn(
                f"What was learnt of {pair.model} is computed anew: it gives other outputs than when {file} was made: "
                f"{spell(differences)}. Code, a library or weights changed that no hash covers."
            )
            forget_learnt(job.out)


def forget_learnt(out: Path) -> None:
    """Delete what suites learnt from networks, as far as possible."""
    shutil.rmtree(out / LEARNT, ignore_errors=True)


def keep(journal: Journal, probe: Probe) -> None:
    """Write a pair's probe beside its parts, before the first of these."""
    _write(journal.probe_file(probe.device), probe)


def check_device(journal: Journal, probe: Probe) -> None:
    """Raise HarnessError where another kind of device has begun this record: each rounds in its own way."""
    for file, older in _of_parts(journal):
        if older and older.device != probe.device:
            raise HarnessError(
                f"{file}: parts of this record were computed on {older.device}, and here is {probe.device}, whose "
                "rounding may differ. Give this run a new --out, or --mixed-devices to go on; the record then says so."
            )


def keep_learnt(job: Job) -> None:
    """Write the probe of each classifier beside what detectors will learn from it, before they do.

    Features without a probe, of an earlier version, count as this classifier's: their key holds its weights' hash.
    """
    if plugins.detector.kind in job.axis.kinds:
        for pair, probe in _classifiers(job).items():
            _write(_learnt_probe(job, pair, probe), probe)


def notes(journal: Journal, probe: Probe) -> list[str]:
    """Notes of a record on the devices that computed its parts, where their outputs differ.

    Raises HarnessError where another process has meanwhile begun to evaluate something else under the same name.
    """
    sentences = []
    for file, older in _of_parts(journal):
        differences = probe.differences(older) if older else {}
        if differences and older and older.device != probe.device:
            both = f"{older.device} and on {probe.device}"
            sentences.append(f"Computed on {both}, whose outputs differ: {spell(differences)}.")
        elif differences:
            raise HarnessError(
                f"{file}: another process evaluates another version of this model or method in the same folder "
                f"({spell(differences)}). Give one of the two its own --out, and run the same command again."
            )
    return sentences


def _start_anew(job: Job, pair: Pair, journal: Journal, reason: str) -> None:
    check_writable(job.out)
    _warn(f"{pair.model} under {pair.method_name} is computed anew: {reason}.")
    journal.clear()
    forget_learnt(job.out)  # features of the network as it was


def _warn(sentence: str) -> None:
    warnings.warn(Notice(sentence), stacklevel=3)


def _classifiers(job: Job) -> dict[Pair, Probe]:
    """The probe of each classifier alone, by the first pair that has it."""
    numbered = reversed([*enumerate(job.pairs)])
    first = {pair.model: index for index, pair in numbered if pair.model != NO_CLASSIFIER}
    probes = {}
    for index in sorted(first.values()):
        probe = job.probes[index]
        outputs = {name: probe.outputs[name] for name in ("images", "model")}
        dtypes = {name: probe.dtypes[name] for name in outputs}
        probes[job.pairs[index]] = replace(probe, outputs=outputs, dtypes=dtypes, unknown={})
    return probes


def _learnt_probe(job: Job, pair: Pair, probe: Probe) -> Path:
    """Place of a classifier's probe beside its learnt features: one per device, arithmetic and images."""
    arithmetic = {"device": probe.device, "dtype": probe.dtypes["model"], "images": list(probe.ids)}
    name = key_of({"model": pair.weights.sha256, "name": pair.model, "data": job.data.sha256, **arithmetic})
    return job.out / LEARNT / f"{name}.probe"


def _stored(journal: Journal) -> Iterator[tuple[Path, Probe | None]]:
    """Probes of the record and of the parts, each with its file; None for one that cannot be read."""
    if journal.file.is_file():
        try:
            values = load(journal.file).probe
        except HarnessError:  # the journal says so, and the record is computed anew
            values = None
        if values is not None:
            yield journal.file, _parsed(values)
    yield from _of_parts(journal)


def _of_parts(journal: Journal) -> Iterator[tuple[Path, Probe | None]]:
    for file in journal.probes:
        try:
            yield file, _read(file)
        except FileNotFoundError:  # another shard has finished the record since
            continue


def _write(file: Path, probe: Probe) -> None:
    if not file.exists():
        text = json.dumps(probe.to_json(), sort_keys=True).encode() + b"\n"
        sealed.write(file, bytearray(text + sealed.BLANK), len(text), file.name)


def _read(file: Path) -> Probe | None:
    """The probe in a file, None for a damaged one; raises FileNotFoundError where there is none."""
    try:
        return _parsed(parse_json(sealed.read(file, file.name).rpartition(b"\n")[0]))
    except (sealed.Damaged, ValueError):
        return None


def _parsed(values: object) -> Probe | None:
    try:
        return Probe.from_json(values)  # type: ignore[arg-type]
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
