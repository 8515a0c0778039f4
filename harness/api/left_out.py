"""Pairs that runs leave out, such as a detector that cannot work with a classifier: said when a command ends."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from harness.base.errors import HarnessError, Unsuited

if TYPE_CHECKING:
    from harness.evaluation.job import Job


def evaluated(job: Job, evaluate: Callable[[], list[Path]]) -> list[Path]:
    """The records of a job; none if it had to leave out every pair, which does not stop the other jobs."""
    try:
        return evaluate()
    except Unsuited:
        if len(job.unsuited) < len(job.pairs):
            raise
        return []


def say(jobs: Sequence[Job], records: Sequence[Path]) -> None:
    """Print a line per pair that was left out; raises HarnessError with all reasons if that is every pair."""
    from harness.terminal import console

    reasons = [reason for job in jobs for reason in job.unsuited.values()]
    if reasons and not records and not lacking(jobs, records):
        raise HarnessError("\n".join(reasons))
    for reason in reasons:
        console.out.print(f"Left out: {reason}", markup=False, soft_wrap=True)


def lacking(jobs: Sequence[Job], records: Sequence[Path]) -> int:
    """Number of records that other shards still work on."""
    return sum(len(job.pairs) - len(job.unsuited) for job in jobs) - len(records)
