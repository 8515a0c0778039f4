"""The folder of a run in progress: what its processes leave for each other, and for `harness status`.

results/local/.runs/6a5b4c3d2e1f/run.plan
results/local/.runs/6a5b4c3d2e1f/0003-000200-200-9f86d081884c.lease
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.base.files import writing
from harness.base.provenance import key_of
from harness.evaluation.job import Job

RUNS = ".runs"
"""Folder in the results folder with a folder for each run in progress."""

PLAN = "run.plan"


@dataclass(frozen=True)
class Lease:
    """A part that a process computes. age: seconds since its last sign of life, by the clocks of both hosts."""

    part: str
    host: str
    pid: int
    age: float


@dataclass(frozen=True)
class RunFolder:
    """The same folder for all processes that make the same records in the same results folder."""

    path: Path

    @classmethod
    def of(cls, job: Job) -> RunFolder:
        """The folder of a job's run; it need not exist."""
        records = sorted(journal.file.name for journal in job.journals)
        return cls(job.out / RUNS / key_of({"records": records, "kept": list(job.spec.kept)}))

    def lease(self, part: str) -> Path:
        """Place of a part's lease."""
        return self.path / f"{part}.lease"

    def leases(self) -> Sequence[Lease]:
        """The leases that are held now, or were by processes that died."""
        found = [_read_lease(file) for file in sorted(self.path.glob("*.lease"))]
        return [lease for lease in found if lease]

    def failure(self, part: str) -> Path:
        """Place of what is known of a part that failed."""
        return self.path / f"{part}.failed"

    def failures(self) -> Sequence[Path]:
        """The files of parts that failed."""
        return sorted(self.path.glob("*.failed"))

    def begin(self, job: Job) -> None:
        """Write the plan, for those who watch."""
        file = self.path / PLAN
        if file.exists():
            return
        plan = {
            "suite": job.spec.suite,
            "records": [
                {"file": str(journal.file.relative_to(job.out)), "parts": str(journal.folders[1].relative_to(job.out))}
                for journal in job.journals
            ],
            "parts": [{"name": p.name, "condition": p.condition.name, "images": len(p.indices)} for p in job.parts],
        }
        with writing(file) as partial:
            partial.write_text(json.dumps(plan))

    def plan(self) -> Mapping[str, Any] | None:
        """What `begin` wrote; None where there is none."""
        try:
            plan: Mapping[str, Any] = json.loads((self.path / PLAN).read_text())
        except (OSError, ValueError):
            return None
        return plan

    def end(self) -> None:
        """Remove the folder, once no process has left anything else in it."""
        with suppress(OSError):
            if {file.name for file in self.path.iterdir()} <= {PLAN}:
                (self.path / PLAN).unlink(missing_ok=True)
                self.path.rmdir()
                self.path.parent.rmdir()


def _read_lease(file: Path) -> Lease | None:
    try:
        lines = dict(line.partition("=")[::2] for line in file.read_text().splitlines())
        return Lease(file.stem, lines["host"].partition("?")[0], int(lines["pid"]), time.time() - file.stat().st_mtime)
    except (OSError, KeyError, ValueError):  # released, or being written
        return None
