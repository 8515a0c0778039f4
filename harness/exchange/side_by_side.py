"""Verification by two processes, where there are two processor cores and enough records to pay for their start."""

from __future__ import annotations

import multiprocessing
import signal
import warnings
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from pathlib import Path

from harness.base.errors import HarnessError
from harness.data.readahead import cores
from harness.exchange import verify as one_by_one
from harness.exchange.inputs import DataAtHand
from harness.exchange.verify import Verification, examine

PROCESSES = 2
"""Each holds the networks' library and the data at hand."""

FEWEST = 40
"""Records from which on two processes are worth their start of some seconds each."""

_inputs = DataAtHand()
"""Data at hand of a process that was started here."""


def verify(files: Sequence[Path], inputs: DataAtHand, plugin_files: Sequence[Path] = ()) -> Iterator[Verification]:
    """`harness.exchange.verify.verify`, with the same verdicts in the same order.

    plugin_files: code that this process has discovered besides the project's own, for the others to discover, too.
    """
    if cores() < PROCESSES or len(files) < FEWEST:
        yield from one_by_one.verify(files, inputs)
        return
    # A fork would share locks of threads that torch and pyarrow have started.
    spawn = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(PROCESSES, spawn, _start, (tuple(plugin_files), dict(inputs.folders)))
    try:
        for verdict, notices in pool.map(_verdict, files):
            for notice in notices:
                warnings.warn(notice, stacklevel=2)
            yield replace(verdict, subject=replace(verdict.subject, inputs=inputs)) if verdict.subject else verdict
    except BrokenProcessPool as error:
        raise HarnessError(
            "A process that verifies records was ended, for want of memory perhaps. Name fewer."
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _start(plugin_files: Sequence[Path], folders: Mapping[str, str]) -> None:
    """Make a new process ready. An interrupt ends it without a word: the first process has the last one."""
    import torch

    from harness import plugins

    global _inputs
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    plugins.discover(*plugin_files)
    _inputs = DataAtHand(folders)


def _verdict(file: Path) -> tuple[Verification, list[Warning]]:
    """The verdict on one file, without the data behind it, and the notices that were given."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        verdict = examine(file, _inputs)
    notices = [warning.message for warning in caught if isinstance(warning.message, Warning)]
    # A copy lacks the suite and the rows that were opened for the checks.
    bare = replace(verdict.subject, inputs=DataAtHand()) if verdict.subject else None
    return replace(verdict, subject=bare), notices
