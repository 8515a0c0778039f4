"""Leased parts: any number of processes share out the parts of a run, as they come and go.

The queue lies in the results folder: see `harness.evaluation.launch.lease_files`. Whoever takes a part over goes on
from its interim state.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from harness.evaluation.launch.claims import Lacks
from harness.evaluation.launch.folder import RunFolder
from harness.evaluation.launch.lease_files import DURATION, POLL, Leases
from harness.evaluation.records.parts import Part
from harness.types import HarnessError

AHEAD = 30.0
"""Seconds of work that a process claims beyond the part at hand, so that images are read ahead."""

STRIDE = 0.618
"""Place in the plan, as a share of it, at which each further process begins: far from those of all earlier ones."""


@dataclass(eq=False)
class Leased:
    """Claims one part after the other, each by its lease.

    duration, poll: see `harness.evaluation.launch.lease_files`.
    """

    duration: float = DURATION
    poll: float = POLL
    _leases: Leases = field(init=False)
    _folder: RunFolder | None = field(default=None, init=False)
    _given: set[str] = field(default_factory=set, init=False)
    _computed: int = field(default=0, init=False)
    _since: float = field(default=0.0, init=False)

    def __post_init__(self) -> None:
        self._leases = Leases(self.duration)

    def check_fresh(self, folder: RunFolder) -> None:
        """Raise HarnessError while another process holds a lease; leases of dead processes are dropped."""
        for held in folder.leases():
            file = folder.lease(held.part)
            if not self._leases.claim(file):
                raise HarnessError(
                    f"--fresh deletes what another process is writing: {held.host}, process {held.pid}, computes "
                    f"{held.part}. Stop it first, or give this run a new --out."
                )
            self._leases.release(file)

    def candidates(self, plan: Sequence[Part]) -> Sequence[Part]:
        """All parts."""
        return plan

    def rounds(self, plan: Sequence[Part], folder: RunFolder, lacks: Lacks) -> Iterator[Iterator[Part]]:
        """Rounds of what can be claimed, or was computed by others since, until no part is lacking."""
        self._folder = folder
        self._given.clear()
        self._computed, self._since = 0, time.monotonic()
        order = _rotated(plan, folder)
        while len(self._given) < len(order):
            before = len(self._given)
            yield self._round(order, lacks)
            if len(self._given) == before:
                time.sleep(self.poll)

    def _round(self, order: Sequence[Part], lacks: Lacks) -> Iterator[Part]:
        for part in order:
            if part.name in self._given:
                continue
            if self._leases.held and self._seconds_ahead > AHEAD:
                return
            if not lacks(part) or self._claim(part, lacks):
                self._given.add(part.name)
                yield part

    def _claim(self, part: Part, lacks: Lacks) -> bool:
        """Take the part's lease; False where another process holds it. Given back if the part is there by then."""
        assert self._folder is not None
        file = self._folder.lease(part.name)
        if not self._leases.claim(file):
            return False
        if not lacks(part):
            self._leases.release(file)
        return True

    @property
    def _seconds_ahead(self) -> float:
        """Seconds that the claimed parts will take, at the rate so far; endless before the first one is computed."""
        if not self._computed:
            return float("inf")
        return len(self._leases.held) * (time.monotonic() - self._since) / self._computed

    def release(self, part: Part) -> None:
        """Give the lease of a part back, if it has one."""
        if self._folder and (file := self._folder.lease(part.name)) in self._leases.held:
            self._computed += 1
            self._leases.release(file)

    def abandon(self) -> None:
        """Give all leases back; their parts are given out again."""
        self._given -= {file.stem for file in self._leases.held}
        self._leases.close()

    def close(self) -> None:
        """Give all leases back."""
        self._leases.close()


def _rotated(plan: Sequence[Part], folder: RunFolder) -> Sequence[Part]:
    """The parts from a place on that depends on how many are leased: processes then seldom ask for the same."""
    others = len(folder.leases())
    first = round(len(plan) * (others * STRIDE % 1))
    return [*plan[first:], *plan[:first]]
