"""Processes share out a run by leases in the results folder, as they come, are killed, and are stopped."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from helpers import SMALL, outcome, run_small

from harness.evaluation.launch.folder import RUNS, RunFolder
from harness.evaluation.launch.leases import Leased
from harness.evaluation.launch.progress import Progress
from harness.evaluation.prepare import prepare
from harness.evaluation.records.journal import Journal
from harness.types import HarnessError

SUITE = "digits-c:severity=1,corruption=gaussian_noise,shot_noise,fog,brightness,contrast,pixelate"
TINY: dict[str, Any] = {
    "suite": SUITE, "models": ("digits/resnet",), "methods": ("default",),
    "denoiser": None, "limit": 4, "tile": 4,
}  # fmt: skip
"""Six parts of four images."""

fork = multiprocessing.get_context("fork")


def work(out: Path, end: int | None = None, after: int = 0) -> None:
    """Work on the run; send oneself the signal `end` within the part after so many."""
    signals = [end] if end else []

    def look(progress: Progress) -> None:
        if signals and progress.computed > 4 * after:
            os.kill(os.getpid(), signals.pop())

    run_small(out, TINY, claims=Leased(duration=1.0, poll=0.05), report=look)


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A file with a line for each part that a process has put on disk: its id and the part's name."""
    log, write = tmp_path / "written", Journal.write

    def noted(self: Journal, part: Any, *rest: Any) -> None:
        write(self, part, *rest)
        with log.open("a") as file:
            file.write(f"{os.getpid()} {part.name}\n")

    monkeypatch.setattr(Journal, "write", noted)
    return log


def test_processes_that_are_killed_and_stopped_leave_the_record_of_one(tmp_path: Path, written: Path) -> None:
    undisturbed = outcome(run_small(tmp_path / "alone", TINY))
    written.unlink()
    out = tmp_path / "shared"
    killed = fork.Process(target=work, args=(out, signal.SIGKILL, 2))
    stopped = fork.Process(target=work, args=(out, signal.SIGSTOP, 1))
    killed.start()
    stopped.start()
    killed.join(60)
    while os.waitid(os.P_PID, stopped.pid or 0, os.WSTOPPED | os.WNOWAIT | os.WNOHANG) is None:
        time.sleep(0.02)
    assert killed.exitcode == -signal.SIGKILL
    held = {lease.pid for lease in next(RunFolder(path) for path in (out / RUNS).iterdir()).leases()}
    assert held == {killed.pid, stopped.pid}
    records = run_small(out, TINY, claims=Leased(duration=1.0, poll=0.05))
    assert outcome(records) == undisturbed
    lines = [line.split() for line in written.read_text().splitlines()]
    by_process = Counter(int(pid) for pid, _ in lines)
    assert len(lines) == len({name for _, name in lines}) == 6, "nothing is computed twice"
    assert by_process[killed.pid or 0] == 2 and by_process[stopped.pid or 0] == 1
    os.kill(stopped.pid or 0, signal.SIGCONT)
    stopped.join(60)
    assert stopped.exitcode == 0, "a process that lost its lease goes on, and finds the record"
    parts = Counter(line.split()[1] for line in written.read_text().splitlines())
    assert sorted(parts.values()) == [1] * 5 + [2], "the part that was taken over"
    assert outcome(run_small(out, TINY)) == undisturbed
    assert not [path for name in (RUNS, ".parts") for path in (out / name).rglob("*") if path.is_file()]


def test_fresh_is_refused_while_others_work(tmp_path: Path) -> None:
    job = prepare(replace(SMALL, **TINY), tmp_path)
    claims = Leased()
    folder = RunFolder.of(job)
    (part,) = next(claims.rounds(job.parts[:1], folder, lambda part: True))
    with pytest.raises(HarnessError, match=f"process {os.getpid()}, computes {part.name}"):
        run_small(tmp_path, TINY, claims=Leased(), fresh=True)
    claims.close()
    assert not folder.leases()


def test_fresh_drops_the_leases_of_dead_processes(tmp_path: Path) -> None:
    killed = fork.Process(target=work, args=(tmp_path, signal.SIGKILL, 1))
    killed.start()
    killed.join(60)
    assert next(RunFolder(path) for path in (tmp_path / RUNS).iterdir()).leases()
    assert len(run_small(tmp_path, TINY, claims=Leased(duration=1.0), fresh=True)) == 1
