"""Claims: the parts of a run that this process computes, if several processes share one results folder."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from harness.evaluation.records.parts import Part
from harness.types import HarnessError


class Claims(Protocol):
    """Shares out the parts of a run among processes. No number depends on who computes a part.

    The loop asks for parts one by one, a few ahead of what it computes, so that an implementation may decide at that
    moment: one with a lock file per part skips those that another process has locked.
    """

    @property
    def alone(self) -> bool:
        """No other process works on this run, so that a record never waits for one."""

    def candidates(self, plan: Sequence[Part]) -> Sequence[Part]:
        """The parts of the plan that this process may come to compute, in order; claims none of them."""

    def parts(self, plan: Sequence[Part]) -> Iterator[Part]:
        """Claim parts one by one: yields a part once it is this process's to compute, in the order of `candidates`."""


@dataclass(frozen=True)
class Shard:
    """The static share of one process: every `count`-th part, from the `index`-th. Known before the run.

    Raises HarnessError unless 0 <= index < count.
    """

    index: int = 0
    count: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.index < self.count:
            raise HarnessError(
                f"Shard {self.index}/{self.count}: the index must be at least 0 and below the count, as in 0/2 and 1/2."
            )

    @property
    def alone(self) -> bool:
        """True for the only shard."""
        return self.count == 1

    def candidates(self, plan: Sequence[Part]) -> Sequence[Part]:
        """Every `count`-th part."""
        return plan[self.index :: self.count]

    def parts(self, plan: Sequence[Part]) -> Iterator[Part]:
        """The candidates: no other shard has them."""
        return iter(self.candidates(plan))


WHOLE = Shard()
"""The claims of a process that is alone."""
