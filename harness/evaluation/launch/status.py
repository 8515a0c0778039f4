"""Progress of the runs of a results folder, read from the folder alone: any process on any host can tell."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.evaluation.launch.failures import Failure, Failures
from harness.evaluation.launch.folder import RUNS, Lease, RunFolder

RECENT = 20
"""Parts that the pace is taken from, those that were finished last."""


@dataclass(frozen=True)
class RunStatus:
    """One run. parts, images: done, and of how many. failures: by part. seconds_left: None where it is not known."""

    suite: str
    parts: tuple[int, int]
    images: tuple[int, int]
    leases: Sequence[Lease]
    failures: Mapping[str, Failure]
    seconds_left: float | None


def statuses(out: Path) -> Iterator[RunStatus]:
    """The runs that have begun in a results folder and are not finished."""
    for path in sorted((out / RUNS).glob("*")):
        folder = RunFolder(path)
        plan = folder.plan()
        if plan:
            yield _status(out, folder, plan)


def _status(out: Path, folder: RunFolder, plan: Mapping[str, Any]) -> RunStatus:
    finished = {}
    for part in plan["parts"]:
        moment = _moment(out, plan["records"], part["name"])
        if moment is not None:
            finished[part["name"]] = moment, part["images"]
    done = sum(images for _, images in finished.values())
    total = sum(part["images"] for part in plan["parts"])
    leases = folder.leases()
    failed = Failures(folder, tolerant=True)
    failures = {file.stem: failure for file in folder.failures() if (failure := failed.of(file.stem))}
    left = _seconds_left(sorted(finished.values()), total - done) if leases else None
    return RunStatus(plan["suite"], (len(finished), len(plan["parts"])), (done, total), leases, failures, left)


def _moment(out: Path, records: Sequence[Mapping[str, str]], part: str) -> float | None:
    """When a part was finished for all records; None where one lacks it."""
    moments = []
    for record in records:
        files = (out / record["parts"] / f"{part}.parquet", out / record["file"])
        found = [file.stat().st_mtime for file in files if file.exists()]
        if not found:
            return None
        moments.append(found[0])
    return max(moments)


def _seconds_left(finished: Sequence[tuple[float, int]], images: int) -> float | None:
    """At the pace of the last parts; the first of these only says when the others began."""
    recent = finished[-RECENT:]
    if len(recent) < 2:
        return None
    spent = time.time() - recent[0][0]
    return images * spent / sum(count for _, count in recent[1:])
