"""Merge: verified records of another folder into a results folder, never over what lies there."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from harness.base.errors import HarnessError
from harness.base.files import file_sha256, locked, writing
from harness.evaluation.records import record as records
from harness.evaluation.records import sample_table
from harness.evaluation.records.journal import record_file
from harness.evaluation.records.record import RunRecord
from harness.exchange.subject import Examined
from harness.exchange.table_checks import differences
from harness.exchange.verify import OK, Verification
from harness.report.boards import record_files
from harness.report.names import label
from harness.types import Metric

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


def against(subject: Examined, theirs: RunRecord, read: Callable[[], bytes], place: str) -> tuple[str, str]:
    """The outcome for a record whose place is taken, and the reason of a conflict. Costs and times may differ.

    theirs: the record that lies there. read: gives the bytes of its sample table. place: where it lies.

    Metrics are the same up to the tolerance of `harness.exchange.verify`: the last bits depend on the processor. Rows
    are the same in whatever file; logits are rows that only one of the two may have.
    """
    ours = subject.record
    if theirs.key != ours.key:
        return CONFLICT, f"{place} is the record with the key {theirs.key}"
    has, had = ours.spec.keep_logits, theirs.spec.keep_logits
    if theirs.samples["sha256"] != ours.samples["sha256"]:
        try:
            other = sample_table.opened(read(), Path(place).with_suffix(".parquet"))
        except HarnessError as error:
            return CONFLICT, f"{error}"
        same = _without_logits(subject.table).equals(_without_logits(other))
        same = same and (has != had or subject.table.equals(other))
        subject.release()
        if not same:
            return CONFLICT, f"{place} has the same key and other rows. Repeat one: harness rerun."
    if not _same_metrics(ours.metrics, theirs.metrics, exactly=has == had):
        return CONFLICT, f"{place} has the same key and other metrics. Repeat one: harness rerun."
    if has and not had:
        return CONFLICT, f"{place} has the same rows without logits. Remove it and its table to take the one with them."
    return IDENTICAL, ""


def _without_logits(table: pa.Table) -> pa.Table:
    return table.select([name for name in table.column_names if name != "logits"])


def _same_metrics(a: Iterable[Metric], b: Iterable[Metric], exactly: bool) -> bool:
    """True where metrics agree within tolerance. exactly: neither has one that the other lacks, as logits give."""
    left, right = ({(metric.name, metric.condition): metric for metric in metrics} for metrics in (a, b))
    if exactly and left.keys() != right.keys():
        return False
    return not any(next(differences("", left[key], right[key]), None) for key in left.keys() & right.keys())


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
    table = other.with_name(theirs.samples["file"])
    return Merged(subject.file, name, *against(subject, theirs, lambda: sample_table.content(table), str(other)))


def lines(merged: list[Merged], dry_run: bool = False) -> list[str]:
    """What became of the records, a line each for those that were refused, and their numbers.

    dry_run: none was copied yet.
    """
    words = {outcome: f"would be {outcome}" if dry_run and outcome == COPIED else outcome for outcome in OUTCOMES}
    refused = [f"{m.file} ({m.name}) {m.outcome}: {m.reason}" for m in merged if not m.fine]
    counts = [f"{sum(m.outcome == outcome for m in merged)} {words[outcome]}" for outcome in OUTCOMES]
    return [*refused, f"{len(merged)} records: {', '.join(counts)}."]
