"""Claims: the parts of a run that this process computes, if several processes share one results folder."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from harness.evaluation.launch.folder import RunFolder
from harness.evaluation.records.parts import Part
from harness.types import HarnessError

Lacks = Callable[[Part], bool]
"""Whether a part is still to be computed, by what is on disk now."""


class Claims(Protocol):
    """Shares out the parts of a run among processes. No number depends on who computes a part.

    The loop asks for parts one by one, some ahead of what it computes, so that an implementation decides at that
    moment.
    """

    def check_fresh(self, folder: RunFolder) -> None:
        """Raise HarnessError if other processes may be writing what ``--fresh`` deletes."""

    def candidates(self, plan: Sequence[Part]) -> Sequence[Part]:
        """The parts of the plan that this process may come to compute, in order; claims none of them."""

    def rounds(self, plan: Sequence[Part], folder: RunFolder, lacks: Lacks) -> Iterator[Iterator[Part]]:
        """Rounds of parts, until every candidate was given out once: claimed by this process, or on disk by then.

        A round is used up, and its parts are computed, before the next one is asked for. A round ends where nothing
        more can be claimed for the moment. folder: what the processes of the run leave for each other.
        """

    def release(self, part: Part) -> None:
        """A part that was given out needs this process no more."""

    def abandon(self) -> None:
        """The round ends early: what it gave out and was not released is to be given out again."""

    def close(self) -> None:
        """Release all that is claimed, also where the run ends early."""


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

    def check_fresh(self, folder: RunFolder) -> None:
        """Raise HarnessError unless this is the only shard."""
        if self.count > 1:
            raise HarnessError(
                "--fresh deletes what the other shards are writing. Give the shards a new --out instead."
            )

    def candidates(self, plan: Sequence[Part]) -> Sequence[Part]:
        """Every `count`-th part."""
        return plan[self.index :: self.count]

    def rounds(self, plan: Sequence[Part], folder: RunFolder, lacks: Lacks) -> Iterator[Iterator[Part]]:
        """One round with all candidates: no other shard has them."""
        yield iter(self.candidates(plan))

    def release(self, part: Part) -> None:
        """Nothing: there is no claim."""

    def abandon(self) -> None:
        """Nothing: a share that is fixed has one round, and an error ends it."""

    def close(self) -> None:
        """Nothing, as well."""


WHOLE = Shard()
"""The claims of a process that is alone."""
