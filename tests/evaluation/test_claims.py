"""Several processes share out the parts of a run: statically, or one by one as they go on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from helpers import outcome, run_small

from harness import plugins
from harness.evaluation.launch.claims import Lacks, Shard
from harness.evaluation.launch.folder import RunFolder
from harness.evaluation.loop import Progress
from harness.evaluation.records.parts import Part
from harness.types import Condition, HarnessError

TINY: dict[str, Any] = {
    "suite": "digits-c:severity=1", "models": ("digits/resnet",), "methods": ("default",),
    "denoiser": None, "limit": 4, "tile": 4,
}  # fmt: skip
"""Fifteen parts of four images."""


@dataclass
class Locks:
    """Claims parts one by one, those that nobody else has; a lock is a name in a set.

    most: parts after which this process dies.
    """

    locked: set[str]
    most: int
    claimed: list[str] = field(default_factory=list)

    def check_fresh(self, folder: RunFolder) -> None:
        pass

    def candidates(self, plan: Sequence[Part]) -> Sequence[Part]:
        return plan

    def rounds(self, plan: Sequence[Part], folder: RunFolder, lacks: Lacks) -> Iterator[Iterator[Part]]:
        yield self._parts(plan)

    def release(self, part: Part) -> None:
        pass

    def close(self) -> None:
        pass

    def _parts(self, plan: Sequence[Part]) -> Iterator[Part]:
        for part in plan:
            if part.name not in self.locked and len(self.claimed) < self.most:
                self.locked.add(part.name)
                self.claimed.append(part.name)
                yield part


def plan(count: int) -> list[Part]:
    data = plugins.dataset["digits"].build("test")
    return [Part(str(k), Condition("clean", "clean"), range(k, k + 1), data) for k in range(count)]


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_shards_share_out_every_part_once(count: int) -> None:
    parts = plan(5)
    shards = [Shard(index, count) for index in range(count)]
    names = [part.name for shard in shards for part in shard.candidates(parts)]
    assert sorted(names) == [part.name for part in parts]


@pytest.mark.parametrize("index, count", [(2, 2), (-1, 2), (0, 0)])
def test_a_shard_that_does_not_exist_is_refused(index: int, count: int) -> None:
    with pytest.raises(HarnessError, match="0/2 and 1/2"):
        Shard(index, count)


def test_processes_that_claim_parts_as_they_go_on_make_the_record_of_one(tmp_path: Path) -> None:
    """The first one dies after six parts; the second one takes the others, and leaves no record to wait for."""
    undisturbed = run_small(tmp_path / "alone", TINY)
    locked: set[str] = set()
    first, second = Locks(locked, 6), Locks(locked, 15)
    ahead: list[int] = []

    def look(tick: Progress) -> None:
        if tick.total == 60 and tick.computed:
            ahead.append(len(first.claimed) - int(tick.computed) // 4)

    assert run_small(tmp_path / "shared", TINY, claims=first, report=look) == []
    assert max(ahead) <= 1, "a part is claimed when its first batch is read, not before"
    assert outcome(run_small(tmp_path / "shared", TINY, claims=second)) == outcome(undisturbed)
    assert len(first.claimed) == 6 and len(second.claimed) == 9
