"""Whether what is on disk was made by what runs now: probes, kept with the parts and in the record, are compared.

    results/local/.parts/6a5b4c3d2e1f/probe.9f86d081884c.1b4f0e.json

Names and hashes are the same where a module that a plugin imports by a detour, a constant or a library has changed; the
outputs are not. On another device of the same kind they may differ by rounding that adds up; the record says so.
"""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from harness import sealed
from harness.errors import Notice
from harness.files import parse_json
from harness.journal import Journal
from harness.probe import Probe, spell
from harness.record import load
from harness.types import HarnessError, Pair

if TYPE_CHECKING:
    from harness.job import Job


def verify(job: Job) -> None:
    """Start the pairs anew whose networks or methods give other outputs than when their record or parts were made."""
    for pair, journal, probe in zip(job.pairs, job.journals, job.probes, strict=True):
        for place, older in _kept(job, journal):
            if older is None:
                _start_anew(pair, journal, f"{place} is damaged")
                break
            differences = probe.differences(older)
            if differences and older.device == probe.device:
                _start_anew(
                    pair, journal, f"it gives other outputs than when {place} was made: {spell(differences)}. Code, a "
                    "library or weights changed that no hash covers"
                )  # fmt: skip
                break


def keep(job: Job, journal: Journal, probe: Probe) -> None:
    """Write a pair's probe beside its parts, before the first of these."""
    file = _file(job, journal, probe.device)
    if not file.exists():
        content = json.dumps(probe.to_json(), sort_keys=True).encode() + b"\n" + sealed.BLANK
        sealed.write(file, bytearray(content), file.name)


def notes(job: Job, journal: Journal, probe: Probe) -> list[str]:
    """What a record says of the devices that computed its parts, where their outputs differ.

    Raises HarnessError where another process has meanwhile begun to evaluate something else under the same name.
    """
    found = []
    for place, older in _parts_probes(job, journal):
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


def clear(job: Job, journal: Journal) -> None:
    """Forget the probes of parts that are dropped."""
    for place, _ in _parts_probes(job, journal):
        place.unlink(missing_ok=True)


def _start_anew(pair: Pair, journal: Journal, reason: str) -> None:
    warnings.warn(Notice(f"{pair.model} under {pair.method} is computed anew: {reason}."), stacklevel=3)
    journal.clear()


def _kept(job: Job, journal: Journal) -> Iterator[tuple[Path, Probe | None]]:
    """Probes of the record and of the parts, with where they stand; None for one that cannot be read."""
    if journal.file.is_file():
        try:
            values = load(journal.file).probe
        except HarnessError:  # told, and the record made anew, where records are looked at
            values = None
        if values is not None:
            yield journal.file, _parsed(values)
    yield from _parts_probes(job, journal)


def _parsed(values: object) -> Probe | None:
    try:
        return Probe.from_json(values)  # type: ignore[arg-type]
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def _parts_probes(job: Job, journal: Journal) -> Iterator[tuple[Path, Probe | None]]:
    for file in sorted(journal.folders[-1].glob(f"probe.{job.data.sha256[:12]}.*.json")):
        try:
            yield file, _parsed(parse_json(sealed.read(file, file.name).rpartition(b"\n")[0]))
        except (sealed.Damaged, FileNotFoundError, ValueError):
            yield file, None


def _file(job: Job, journal: Journal, device: str) -> Path:
    """Parts of other data have probes of their own: their images may be others."""
    place = hashlib.sha256(device.encode()).hexdigest()[:6]
    return journal.folders[-1] / f"probe.{job.data.sha256[:12]}.{place}.json"
