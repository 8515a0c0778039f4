"""Read-ahead: threads decode the next batches while this one computes."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from typing import TypeVar

from harness.data.arrays import ArrayDataset, Corrupted, Subset, Widened
from harness.types import BadImage, Batch, Dataset

Item = TypeVar("Item")
Result = TypeVar("Result")


def ordered(function: Callable[[Item], Result], items: Iterable[Item], workers: int) -> Generator[Result, None, None]:
    """`map` with its results in order, computed by threads that are up to `workers` items ahead; 0 computes in place.

    Threads, not processes: Pillow, numpy and torch let go of Python's lock while they decode, resize and copy, and
    threads start at once, share what readers keep in memory, and leave the GPU's context alone.
    """
    if not workers:
        yield from map(function, items)
        return
    waiting: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(workers) as pool:
        try:
            for item in items:
                waiting.append(pool.submit(function, item))
                if len(waiting) > workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def in_memory(data: Dataset) -> bool:
    """True for a data set whose images need no decoding."""
    match data:
        case Subset() | Widened():
            return in_memory(data.whole)
        case Corrupted():
            return in_memory(data.clean)
    return isinstance(data, ArrayDataset)


MOST = 16
"""Threads that decode, at most, by default: more would wait for one another, and each holds a batch."""


def decoders(datasets: Iterable[Dataset]) -> int:
    """Number of threads that should decode: one per core, up to `MOST`; 0 if all data sets lie in memory."""
    return 0 if all(map(in_memory, datasets)) else min(MOST, cores())


class ReadAhead(Iterator[Batch | None]):
    """Batches of samples in the order of `work`, and the time spent waiting for them.

    waited: in seconds.

    work: data sets and positions in them. workers: see `ordered`.
    skip: leave out images that cannot be read; a batch without any readable image is None.
    pinned: put images into page-locked memory, from which they go to a GPU while the host computes.
    """

    def __init__(
        self,
        work: Iterable[tuple[Dataset, Sequence[int]]],
        workers: int = 0,
        skip: bool = False,
        pinned: bool = False,
    ) -> None:
        def read(item: tuple[Dataset, Sequence[int]]) -> Batch | None:
            batch = _read(*item, skip)
            return replace(batch, images=batch.images.pin_memory()) if batch and pinned else batch

        self._batches = ordered(read, work, workers)
        self.waited, self._start = 0.0, time.perf_counter()

    def __next__(self) -> Batch | None:
        start = time.perf_counter()
        batch = next(self._batches)
        self.waited += time.perf_counter() - start
        return batch

    @property
    def waiting(self) -> float:
        """Share of the time so far spent waiting, in [0, 1]."""
        return self.waited / max(time.perf_counter() - self._start, 1e-9)

    def close(self) -> None:
        """Stop reading ahead."""
        self._batches.close()


def _read(data: Dataset, indices: Sequence[int], skip: bool) -> Batch | None:
    try:
        return data.read(indices)
    except BadImage:
        if not skip:
            raise
    good = [i for i in indices if _readable(data, i)]
    return data.read(good) if good else None


def _readable(data: Dataset, index: int) -> bool:
    try:
        data.read([index])
    except BadImage:
        return False
    return True
