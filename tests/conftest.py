"""Shared by all tests: plugins discovered once, one undisturbed small run."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

# Two test processes with all the cores each would only wait for one another.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Tables are as wide as they need, whichever test imports the console first.
os.environ.pop("COLUMNS", None)

import pytest
from helpers import run_small

from harness import plugins
from harness.data import ArrayDataset
from harness.evaluation.records.record import RunRecord
from harness.terminal import console as console


@pytest.fixture(scope="session", autouse=True)
def discovered() -> None:
    plugins.discover()


@pytest.fixture(autouse=True)
def forgotten(discovered: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test registers is gone after it: tests may run in any order, in any process."""
    for registry in vars(plugins).values():
        if isinstance(registry, plugins.Registry):
            monkeypatch.setattr(registry, "_entries", dict(registry._entries))
            monkeypatch.setattr(registry, "_family_entries", {})


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    """The command line's handlers of signals end a process at once: not this one, when a test has called it."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture(scope="session")
def few(discovered: None) -> ArrayDataset:
    """Forty training digits."""
    whole = plugins.dataset["digits"].build("train")
    return ArrayDataset("digits", whole.ids[:40], whole.pixels[:40], whole.labels[:40], 10, whole.geometry)


@pytest.fixture(scope="session")
def small_run(tmp_path_factory: pytest.TempPathFactory) -> list[RunRecord]:
    """The records of an undisturbed run of `SMALL`, in one process and one batch."""
    return run_small(tmp_path_factory.mktemp("undisturbed"))
