"""Boards: the records of a results folder, grouped into leaderboards that rank. Pure: files in, records out."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from harness.base.errors import HarnessError, suggest
from harness.evaluation.records import index, record
from harness.evaluation.records.record import RunRecord
from harness.report.gallery import contents
from harness.report.names import label, title

LeaveOut = Callable[[HarnessError], None]
"""Called with the reason why a file is left out; raises it, or returns to go on without the file."""


NOT_RECORDS = ("published", contents.FOLDER, "figures")
"""Folders of a results folder whose JSON files are no records."""


def raise_error(reason: HarnessError) -> None:
    """The strict `LeaveOut`: no file may be left out."""
    raise reason


def readable(
    files: Iterable[Path], leave_out: LeaveOut = raise_error, checked: Mapping[Path, RunRecord] = {}
) -> Iterator[RunRecord]:
    """The records in some files. leave_out: called for each file that is no record. checked: records at hand."""
    for file in files:
        try:
            yield checked.get(file) or record.load(file)
        except HarnessError as reason:
            leave_out(reason)


def record_files(root: Path) -> list[Path]:
    """The files below a results folder that should be records, sorted; hidden folders are passed over.

    Tables, checks and exchange all read these, and no others: what one of them shows, the others have looked at.
    Names of files may begin with a dot: those of classifiers that are named by an absolute path do.
    """
    files = []
    for file in sorted(root.rglob("*.json")):
        folders = file.relative_to(root).parts[:-1]
        hidden = any(folder.startswith(".") for folder in folders)
        if not hidden and not set(folders) & set(NOT_RECORDS) and file.name != contents.FILE:
            files.append(file)
    return files


def every(root: Path, leave_out: LeaveOut = raise_error) -> list[RunRecord]:
    """All records below a results folder, also several with one key; the last of these is the one that ranks.

    Records that are unchanged since an earlier call come from an index: see `harness.evaluation.records.index`.
    """
    files = record_files(root)

    def precedence(entry: RunRecord) -> tuple[bool, bool, str]:
        return bool(entry.path and not is_local(entry.path, root)), bool(entry.sha256), entry.created

    checked = index.of(root, files)
    entries = list(readable(files, leave_out, checked.records))
    checked.store(entries)
    return sorted(entries, key=precedence)


def find(root: Path, leave_out: LeaveOut = raise_error) -> list[RunRecord]:
    """The records below a results folder; of several with one key the shipped one, or the newest with a checksum."""
    return list({entry.key: entry for entry in every(root, leave_out)}.values())


def doubtful(entries: Sequence[RunRecord]) -> str:
    """A warning about the records of a board that have no checksum; empty if all have one."""
    doubts = [(label(entry), entry.doubts) for entry in entries if entry.doubts]
    if not doubts:
        return ""
    renamed = [f"{name}: {', '.join(reasons[1:])}" for name, reasons in doubts if reasons[1:]]
    return (
        f"{title(entries[0])}: {len(doubts)} of {len(entries)} records have no checksum. They are of an older version, "
        "and an edit of them would show only where it contradicts the rest. " + "; ".join(renamed)
    ).rstrip()


def is_local(file: Path, root: Path) -> bool:
    """True for the user's own records, below ``local/``; False for those that ship with the project."""
    return "local" in file.relative_to(root).parts


def boards(records: Iterable[RunRecord]) -> dict[tuple[str, ...], list[RunRecord]]:
    """Records grouped into leaderboards, each ranked by its first column; whole test sets before subsets."""
    grouped: dict[tuple[str, ...], list[RunRecord]] = {}
    for entry in sorted(records, key=lambda r: (r.suite, r.status, r.board)):
        grouped.setdefault(entry.board, []).append(entry)
    return {board: sorted(entries, key=_rank) for board, entries in grouped.items()}


def _rank(entry: RunRecord) -> tuple[float, str, str]:
    best = entry.metric(*entry.columns[0])
    if best is None:
        return (math.inf, entry.model.name, entry.method)
    return (-best.value if best.higher_is_better else best.value, entry.model.name, entry.method)


def having(records: Iterable[RunRecord], metric: str) -> list[RunRecord]:
    """The records that have a metric of this name, which may be written with spaces; HarnessError if none has."""
    records = list(records)
    scored = [r for r in records if r.metric(metric.replace(" ", "_"))]
    if not scored:
        raise suggest("metric", metric, sorted({m.name for r in records for m in r.metrics}))
    return scored
