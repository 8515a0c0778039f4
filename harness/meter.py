"""What the rows of a part cost: seconds, denoiser calls, tiles that memory forced to be smaller."""

from __future__ import annotations

import time

from harness.job import Job


class Meter:
    """What a part costs, on top of what its interim states had cost, and when to keep another interim state."""

    def __init__(self, job: Job, spent: list[dict[str, float]]) -> None:
        self.calls = 0
        self._job, self._spent, self._halved = job, spent, job.halvings()
        self._start = self._kept = time.perf_counter()

    def due(self, every: float) -> bool:
        """Whether the last reading is as many seconds old."""
        return time.perf_counter() - self._kept > every

    def read(self, calls: int = 0) -> list[dict[str, float]]:
        """The cost so far, per pair; `calls` are those of the batch at hand."""
        self._kept = time.perf_counter()
        now = {
            "seconds": self._kept - self._start,
            "denoiser_calls": self.calls + calls,
            "halvings": self._job.halvings() - self._halved,
        }
        return [
            {"pairs": len(self._spent), **{name: value + spent.get(name, 0) for name, value in now.items()}}
            for spent in self._spent
        ]
