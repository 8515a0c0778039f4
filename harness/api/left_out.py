"""Pairs that runs leave out, such as a detector that cannot work with a classifier."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
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


@dataclass(frozen=True)
class Tally:
    """Count of the pairs of some jobs that were evaluated: `kept`, each with a record, and reasons for the others."""

    kept: int
    reasons: Sequence[str]

    @classmethod
    def of(cls, jobs: Iterable[Job]) -> Tally:
        """The count after these jobs. Raises HarnessError with all reasons if every pair was left out."""
        jobs = list(jobs)
        reasons = [reason for job in jobs for reason in job.unsuited.values()]
        kept = sum(len(job.pairs) for job in jobs) - len(reasons)
        if reasons and not kept:
            raise HarnessError("\n".join(reasons))
        return cls(kept, reasons)
