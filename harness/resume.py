"""Whether what is on disk was made by what runs now: probes, kept with the parts and in the record, are compared.

    results/local/.parts/6a5b4c3d2e1f/9f86d081884c-1b4f0e.probe

Names and hashes are the same where a module that a plugin imports by a detour, a constant or a library has changed; the
outputs are not. On another device of the same kind they may differ by rounding that adds up; the record says so.
"""

from __future__ import annotations

import json
import shutil
import warnings
from collections.abc import Iterator
from pathlib import Path

from harness import sealed
from harness.errors import Notice
from harness.files import check_writable, parse_json
from harness.job import Job
from harness.journal import Journal
from harness.probe import Probe, spell
from harness.record import load
from harness.types import HarnessError, Pair

LEARNT = ".learnt"
"""Folder in the results folder for what suites learn before the first image."""


def verify(job: Job) -> None:
    """Start the pairs anew whose networks or methods give other outputs than when their record or parts were made."""
    for pair, journal, probe in zip(job.pairs, job.journals, job.probes, strict=True):
        for place, older in _kept(journal):
            if older is None:
                _tell(f"{place} is damaged: the parts of {pair.model} under {pair.method} are computed anew.")
                journal.clear_parts()
                break
            differences = probe.differences(older)
            if differences and older.device != probe.device and place == journal.file:
                _tell(
                    f"{place} was computed on {older.device}; on {probe.device} outputs differ: {spell(differences)}."
                )
            elif differences and older.device == probe.device:
                reason = f"it gives other outputs than when {place} was made: {spell(differences)}"
                _start_anew(job, pair, journal, f"{reason}. Code, a library or weights changed that no hash covers")
                break


def keep(journal: Journal, probe: Probe) -> None:
    """Write a pair's probe beside its parts, before the first of these."""
    file = journal.probe_file(probe.device)
    if not file.exists():
        text = json.dumps(probe.to_json(), sort_keys=True).encode() + b"\n"
        sealed.write(file, bytearray(text + sealed.BLANK), len(text), file.name)


def notes(journal: Journal, probe: Probe) -> list[str]:
    """What a record says of the devices that computed its parts, where their outputs differ.

    Raises HarnessError where another process has meanwhile begun to evaluate something else under the same name.
    """
    found = []
    for place, older in _of_parts(journal):
        differences = probe.differences(older) if older else {}
        if differences and older and older.device != probe.device:
            both = f"{older.device} and on {probe.device}"
            found.append(f"Computed on {both}, whose outputs differ: {spell(differences)}.")
        elif differences:
            raise HarnessError(
                f"{place}: another process evaluates another version of this model or method in the same folder "
                f"({spell(differences)}). Give one of the two its own --out, and run the same command again."
            )
    return found


def _start_anew(job: Job, pair: Pair, journal: Journal, reason: str) -> None:
    check_writable(job.out)
    _tell(f"{pair.model} under {pair.method} is computed anew: {reason}.")
    journal.clear()
    shutil.rmtree(job.out / LEARNT, ignore_errors=True)  # features of the network as it was


def _tell(what: str) -> None:
    warnings.warn(Notice(what), stacklevel=3)


def _kept(journal: Journal) -> Iterator[tuple[Path, Probe | None]]:
    """Probes of the record and of the parts, with where they stand; None for one that cannot be read."""
    if journal.file.is_file():
        try:
            values = load(journal.file).probe
        except HarnessError:  # told, and the record made anew, where records are looked at
            values = None
        if values is not None:
            yield journal.file, _parsed(values)
    yield from _of_parts(journal)


def _parsed(values: object) -> Probe | None:
    try:
        return Probe.from_json(values)  # type: ignore[arg-type]
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def _of_parts(journal: Journal) -> Iterator[tuple[Path, Probe | None]]:
    for file in journal.probes:
        try:
            yield file, _parsed(parse_json(sealed.read(file, file.name).rpartition(b"\n")[0]))
        except FileNotFoundError:  # another shard has finished the record since
            continue
        except (sealed.Damaged, ValueError):
            yield file, None
