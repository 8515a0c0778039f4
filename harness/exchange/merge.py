"""Merge: verified records of another folder into a results folder, never over what lies there."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from harness.base.errors import HarnessError
from harness.base.files import file_sha256, locked, writing
from harness.evaluation.records import record as records
from harness.evaluation.records import sample_table
from harness.evaluation.records.journal import record_file
from harness.evaluation.records.record import RunRecord
from harness.exchange.folders import record_files
from harness.exchange.subject import Examined
from harness.exchange.verify import OK, Verification
from harness.report.names import label

COPIED, IDENTICAL, CONFLICT, REFUSED = OUTCOMES = "copied", "already there", "conflict", "left out"


@dataclass(frozen=True)
class Merged:
    """The outcome for one record, one of `OUTCOMES`. file: its source. reason: for what is not copied."""

    file: Path
    name: str
    outcome: str
    reason: str = ""

    @property
    def fine(self) -> bool:
        """True where nothing was refused."""
        return self.outcome in (COPIED, IDENTICAL)


def merge(verdicts: Iterable[Verification], into: Path, dry_run: bool = False) -> list[Merged]:
    """Copy the records that are ok: each sample table in one piece, and then its record. Nothing is overwritten.

    Raises HarnessError for a folder that cannot be written to, or in which another process is at work.
    """
    present = keys_in(into)
    if dry_run:
        return [_merged(verdict, into, present, dry_run) for verdict in verdicts]
    try:
        into.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise HarnessError(f"Cannot write to {into}: {error.strerror or error}. Choose another folder.") from error
    with locked(into):
        return [_merged(verdict, into, present, dry_run) for verdict in verdicts]


def keys_in(folder: Path) -> dict[str, Path]:
    """The record files of a results folder by the key in their names."""
    return {file.stem.rpartition("--")[2]: file for file in record_files(folder)} if folder.is_dir() else {}


def same_results(a: RunRecord, b: RunRecord) -> bool:
    """True for two records of the same rows and metrics; their costs and times may differ."""
    return (a.key, a.samples["sha256"], tuple(a.metrics)) == (b.key, b.samples["sha256"], tuple(b.metrics))


def serialised(subject: Examined) -> str:
    """A record's JSON as `harness.evaluation.records.record.save` writes it: the same bytes everywhere."""
    return json.dumps(subject.values, indent=1, sort_keys=True) + "\n"


def _merged(verdict: Verification, into: Path, present: dict[str, Path], dry_run: bool) -> Merged:
    subject = verdict.subject
    if verdict.outcome != OK or subject is None:
        reasons = [*map(str, verdict.differences), *verdict.reasons]
        return Merged(verdict.file, verdict.name, REFUSED, reasons[0] + (" ..." if len(reasons) > 1 else ""))
    record = subject.record
    name = label(record)
    if record.key in present:
        return _of_one_key(subject, name, present[record.key])
    target = into / record_file(record.suite, record.model.name, record.method, record.key)
    table = target.with_suffix(".parquet")
    if table.exists() and file_sha256(table) != record.samples["sha256"]:
        return Merged(verdict.file, name, CONFLICT, f"{table} is another table, without a record. Remove it first.")
    if not dry_run:
        content = sample_table.content(subject.table_file)
        if hashlib.sha256(content).hexdigest() != record.samples["sha256"]:
            return Merged(verdict.file, name, REFUSED, f"{subject.table_file} was changed meanwhile")
        with writing(table) as partial:
            partial.write_bytes(content)
        with writing(target) as partial:
            partial.write_text(serialised(subject), encoding="utf-8")
    present[record.key] = verdict.file if dry_run else target
    return Merged(verdict.file, name, COPIED)


def _of_one_key(subject: Examined, name: str, other: Path) -> Merged:
    """The outcome where a record of the same key lies in the folder."""
    try:
        theirs = records.load(other)
    except HarnessError as error:
        return Merged(subject.file, name, CONFLICT, f"{error}")
    if same_results(subject.record, theirs):
        return Merged(subject.file, name, IDENTICAL)
    what = "rows" if theirs.samples["sha256"] != subject.record.samples["sha256"] else "metrics"
    return Merged(
        subject.file, name, CONFLICT, f"{other} has the same key and other {what}. Repeat one: harness rerun."
    )


def lines(merged: list[Merged], dry_run: bool = False) -> list[str]:
    """What became of the records, a line each for those that were refused, and their numbers.

    dry_run: none was copied yet.
    """
    words = {outcome: f"would be {outcome}" if dry_run and outcome == COPIED else outcome for outcome in OUTCOMES}
    refused = [f"{m.file} ({m.name}) {m.outcome}: {m.reason}" for m in merged if not m.fine]
    counts = [f"{sum(m.outcome == outcome for m in merged)} {words[outcome]}" for outcome in OUTCOMES]
    return [*refused, f"{len(merged)} records: {', '.join(counts)}."]
