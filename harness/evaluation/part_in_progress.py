"""A part in progress: resumed from its interim state, filled batch by batch, saved now and then, finished."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from harness.base.provenance import environment
from harness.evaluation.job import Job
from harness.evaluation.records.journal import Journal, warn_of_losses
from harness.evaluation.records.parts import Part
from harness.evaluation.records.rows import (
    Rows,
    final_rows,
    interim_columns,
    joined,
    rows_of_batch,
    with_final_column,
    with_older_rows,
)
from harness.evaluation.views.batch import BatchViews
from harness.types import Batch, BatchTask, HarnessError, Observation, Pair

KEEP_EVERY = 20.0
"""Seconds between two interim states of a part on disk."""


@dataclass(eq=False)
class PairInProgress:
    """The rows of one pair in a part.

    interim: rows of an interrupted run, final and begun ones; None if there are none.
    spent: the cost of these. batches: finished rows of this run, in the order of the part.
    current: rows of the batch at hand as they stand; None between batches.
    seconds, calls: spent on this pair alone in this run, and images that went through the denoiser for it.
    """

    pair: Pair
    journal: Journal
    interim: Rows | None
    spent: Mapping[str, float]
    batches: list[Rows] = field(default_factory=list)
    current: Rows | None = None
    seconds: float = 0.0
    calls: int = 0

    def end_batch(self) -> None:
        """The rows of the batch at hand are final."""
        if self.current is None:
            raise HarnessError(
                f"The suite gave no rows of a batch for {self.pair.model} under {self.pair.method_name}."
            )
        self.batches.append(self.current)
        self.current = None

    def interim_rows(self) -> Rows:
        """Rows of an interim state: finished batches, the one at hand, and older rows whose turn is yet to come."""
        rows = [with_final_column(batch, True) for batch in self.batches]
        if self.current is not None:
            rows.append(with_final_column(self.current, False))
        return with_older_rows(joined(rows), self.interim)


class PartInProgress:
    """One part on its way to the journals of the pairs that lack it.

    For every batch: `resume`; where that is False `begin`, `add` for each observation, and `end`. Finally `finish`. The
    process may die at any moment: files appear in one piece, and an interim state goes only once its part is there.

    resumed: images whose rows, or begun shares of them, an interrupted run had left.
    """

    def __init__(self, job: Job, part: Part, prepared: Mapping[int, Pair]) -> None:
        """prepared: the pairs that lack the part, by their index in the job, as the suite prepared them."""
        self.resumed = 0.0
        self._job = job
        self._part = part
        self._pairs: list[PairInProgress] = []
        for index, pair in prepared.items():
            rows, spent = job.journals[index].interim(part)
            self._pairs.append(PairInProgress(pair, job.journals[index], rows, spent))
        warn_of_losses([member.journal for member in self._pairs])
        self._views: BatchViews | None = None
        self._goes_on = False
        self._calls = 0
        self._halvings = job.halvings()
        self._start = time.perf_counter()
        self._last_kept = self._start
        self._seen = self._start, 0

    def resume(self, batch: Batch) -> bool:
        """Take the batch's rows from the interim state; False unless they are final for every pair.

        A batch that one pair lacks is computed for all of them, because they share its views.
        """
        for member in self._pairs:
            member.current = final_rows(member.interim, batch)
        if any(member.current is None for member in self._pairs):
            return False
        for member in self._pairs:
            member.end_batch()
        self.resumed += len(batch)
        return True

    def begin(self, batch: Batch) -> BatchTask:
        """The batch as the suite observes it, with what an interrupted run had begun."""
        begun = [interim_columns(member.interim, batch) for member in self._pairs]
        self._goes_on = any(columns is not None for columns in begun)
        self._views = BatchViews(batch, self._job.denoiser, self._job.tiles, self._job.spec.seed)
        self._seen = time.perf_counter(), 0
        pairs = [member.pair for member in self._pairs]
        spec = self._job.spec
        kept = spec.keep_logits, batch.ids, spec.keep_images
        return BatchTask(self._part.condition, self._views, batch.labels, pairs, begun, *kept)

    def add(self, observation: Observation) -> None:
        """Take the rows of the batch at hand as they stand. Keeps an interim state now and then."""
        assert self._views is not None
        batch = self._views.batch
        for member, columns in zip(self._pairs, observation.columns, strict=True):
            member.current = rows_of_batch(batch, self._part.condition, columns)
        self._attribute(observation.only, self._views.calls)
        if observation.done < 1 and self._is_due():
            self._keep()
        # A suite that goes on from begun rows first yields the state that these amount to.
        if self._goes_on:
            self.resumed += observation.done * len(batch)
            self._goes_on = False

    def end(self) -> None:
        """The last observation of the batch at hand was final. Keeps an interim state now and then."""
        assert self._views is not None
        self._calls += self._views.calls
        self._views = None
        for member in self._pairs:
            member.end_batch()
        if self._is_due():
            self._keep()

    def finish(self) -> None:
        """Put the part on disk for each pair, in place of its interim state."""
        here = environment(self._job.spec.device)
        for member in self._pairs:
            member.journal.write(self._part, joined(member.batches), _sum(self._cost(member), member.spent), here)

    def _is_due(self) -> bool:
        return time.perf_counter() - self._last_kept > KEEP_EVERY

    def _keep(self) -> None:
        """Put an interim state on disk for each pair."""
        for member in self._pairs:
            member.journal.write_interim(self._part, member.interim_rows(), _sum(self._cost(member), member.spent))
        self._last_kept = time.perf_counter()

    def _attribute(self, only: int | None, calls: int) -> None:
        """Note what was spent since the last observation for the pair that it was for. calls: of the batch so far."""
        now = time.perf_counter()
        before, earlier = self._seen
        if only is not None:
            self._pairs[only].seconds += now - before
            self._pairs[only].calls += calls - earlier
        self._seen = now, calls

    def _cost(self, member: PairInProgress) -> dict[str, float]:
        """The cost of this run so far: seconds, denoiser calls, tiles that memory made smaller.

        Shared by all pairs; where each makes its own images, a pair's own and an equal share of the rest.
        """
        seconds = time.perf_counter() - self._start
        calls: float = self._calls + (self._views.calls if self._views else 0)
        together = len(self._pairs)
        if self._job.generates:
            seconds = member.seconds + (seconds - sum(each.seconds for each in self._pairs)) / together
            calls = member.calls + (calls - sum(each.calls for each in self._pairs)) / together
            together = 1
        halvings = self._job.halvings() - self._halvings
        return {"pairs": together, "seconds": seconds, "denoiser_calls": calls, "halvings": halvings}


def _sum(cost: Mapping[str, float], spent: Mapping[str, float]) -> dict[str, float]:
    """Cost on top of an interrupted run's; the number of pairs is that of now."""
    return {name: value if name == "pairs" else value + spent.get(name, 0) for name, value in cost.items()}
