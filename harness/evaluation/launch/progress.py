"""Progress of an evaluation, in images."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from harness.data import ReadAhead
from harness.evaluation.records.parts import Part


@dataclass(frozen=True)
class Progress:
    """Progress after a batch, in images, one per sample and condition.

    done: of `total`, including what was on disk. computed: in this run.
    stage: the step of the preparation whose images are counted; "" for the evaluation itself.
    waiting: share of the time so far that went into waiting for data.
    """

    done: float
    computed: float
    total: int
    condition: str
    stage: str = ""
    waiting: float = 0.0


Report = Callable[[Progress], None]


class Counter:
    """Images done and computed so far, and the reports of them. total: images of all parts that may be claimed.

    readers: those that data came from so far.
    """

    def __init__(self, report: Report, total: int) -> None:
        self.readers: list[ReadAhead] = []
        self._report = report
        self._total = total
        self._done = 0.0
        self._computed = 0.0
        self._start = time.perf_counter()

    def report(self, part: Part, done: float, resumed: float) -> None:
        """Report on the part at hand. done: its images so far; resumed: those of them that were on disk."""
        computed = self._computed + done - resumed
        waiting = sum(reader.waited for reader in self.readers) / max(time.perf_counter() - self._start, 1e-9)
        self._report(Progress(self._done + done, computed, self._total, part.condition.name, waiting=waiting))

    def end(self, part: Part, resumed: float) -> None:
        """Count and report a whole part."""
        self.report(part, len(part.indices), resumed)
        self._done += len(part.indices)
        self._computed += len(part.indices) - resumed

    def pass_over(self, part: Part) -> None:
        """Count and report a part that was on disk."""
        self.end(part, len(part.indices))
