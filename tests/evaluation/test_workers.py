"""Several processes work on one run: parts that fail, workers that die, and what the folder tells of them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers import ROOT, harness, outcome, run_small

from harness.base.errors import Failed, Lost
from harness.cli.commands.launch.on import without
from harness.data.corruptions import STANDARD
from harness.evaluation.launch.engines import slurm
from harness.evaluation.launch.engines.local import RESTARTS, Supervised, supervise
from harness.evaluation.launch.engines.slurm import Slurm
from harness.evaluation.launch.folder import RUNS, RunFolder
from harness.evaluation.launch.leases import Leased
from harness.evaluation.launch.progress import Progress
from harness.evaluation.launch.status import statuses
from harness.evaluation.launch.workers import Worker
from harness.suites.bases.suite import SuiteBase
from harness.types import BatchTask, HarnessError, Observation

SUITE = "digits-c:severity=1,corruption=gaussian_noise,fog,brightness,contrast"
TINY: dict[str, Any] = {
    "suite": SUITE, "models": ("digits/resnet",), "methods": ("default",),
    "denoiser": None, "limit": 4, "tile": 4,
}  # fmt: skip
"""Four parts of four images."""


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> dict[str, Exception]:
    """Conditions whose parts raise an error, to be filled."""
    errors: dict[str, Exception] = {}
    observe = SuiteBase.observe

    def failing(self: Any, task: BatchTask) -> Iterator[Observation]:
        if task.condition.name in errors:
            raise errors[task.condition.name]
        return observe(self, task)

    monkeypatch.setattr(SuiteBase, "observe", failing)
    return errors


def test_a_part_that_fails_twice_is_set_aside_and_the_rest_goes_on(
    tmp_path: Path, broken: dict[str, Exception]
) -> None:
    undisturbed = outcome(run_small(tmp_path / "alone", TINY))
    broken["fog/1"] = ValueError("no fog")
    out = tmp_path / "shared"
    with pytest.raises(Failed, match=r"1 part fails .* ValueError: no fog \(traceback: .*\.failed\)"):
        run_small(out, TINY, claims=Leased(), tolerant=True)
    (status,) = statuses(out)
    assert status.parts == (3, 4) and status.images == (12, 16)
    (failure,) = status.failures.values()
    assert failure.times == 2 and "raise errors[task" in failure.traceback
    broken.clear()
    assert outcome(run_small(out, TINY, claims=Leased())) == undisturbed, "a run by hand tries again"
    assert not list(statuses(out)) and not (out / RUNS).exists()


def test_without_tolerance_an_error_ends_the_run(tmp_path: Path, broken: dict[str, Exception]) -> None:
    broken["fog/1"] = ValueError("no fog")
    with pytest.raises(ValueError, match="no fog"):
        run_small(tmp_path, TINY, claims=Leased())
    assert not next(iter(statuses(tmp_path))).leases


def test_a_process_gives_up_where_all_that_it_tries_fails(tmp_path: Path, broken: dict[str, Exception]) -> None:
    broken.update({f"{name}/1": MemoryError("none left") for name in STANDARD})
    with pytest.raises(MemoryError):
        run_small(tmp_path, TINY, claims=Leased(), tolerant=True)


def test_a_process_whose_device_fails_ends_and_says_so(tmp_path: Path, broken: dict[str, Exception]) -> None:
    broken["fog/1"] = RuntimeError("CUDA error: device-side assert triggered")
    with pytest.raises(Lost, match="another one goes on"):
        run_small(tmp_path, TINY, claims=Leased(), tolerant=True)
    broken.clear()
    assert len(run_small(tmp_path, TINY, claims=Leased(), tolerant=True)) == 1


def supervised(folder: Path, *programs: str) -> list[Supervised]:
    return [
        Supervised([sys.executable, "-S", "-c", program, str(folder)], {"RANKED": str(k)}, folder / f"{k}.log", k == 0)
        for k, program in enumerate(programs)
    ]


COUNT = """
import os, sys, pathlib
tries = pathlib.Path(sys.argv[1], "tries")
tries.write_text((tries.read_text() if tries.exists() else "") + "x")
"""


def test_a_worker_that_was_killed_is_started_again(tmp_path: Path) -> None:
    looks: list[int] = []
    dies_once = COUNT + "if len(tries.read_text()) < 2: os.kill(os.getpid(), 9)"
    supervise(supervised(tmp_path, dies_once, "pass"), lambda: looks.append(1))
    assert (tmp_path / "tries").read_text() == "xx" and looks and not list(tmp_path.glob("*.log"))


def test_a_worker_is_not_started_again_for_ever(tmp_path: Path) -> None:
    always = COUNT + "print('gone', file=sys.stderr); sys.exit(75)"
    with pytest.raises(Failed, match="gone"):
        supervise(supervised(tmp_path, always), lambda: None)
    assert len((tmp_path / "tries").read_text()) == RESTARTS + 1


def test_bad_input_ends_all_workers_at_once(tmp_path: Path) -> None:
    refuses = "import sys; print('Error: no such model', file=sys.stderr); sys.exit(2)"
    with pytest.raises(HarnessError, match=r"^no such model$"):
        supervise(supervised(tmp_path, refuses, "import time; time.sleep(60)"), lambda: None)


def test_workers_know_themselves() -> None:
    assert Worker.of({}) is None and Worker.of({"RANK": "1"}) is None
    assert Worker.of({"HARNESS_WORKER": "0", "HARNESS_GPU": ""}) == Worker(0, None)
    assert Worker.of({"HARNESS_WORKER": "2", "HARNESS_GPU": "1", "HARNESS_RESTARTED": "1"}) == Worker(2, 1, False)
    elastic = {"TORCHELASTIC_RUN_ID": "none", "RANK": "3", "LOCAL_RANK": "1", "TORCHELASTIC_RESTART_COUNT": "1"}
    assert Worker.of(elastic) == Worker(3, 1, False)


def test_a_worker_sees_its_own_gpu_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,6")
    Worker(0, 1).take_gpu("cpu")
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "4,6"
    Worker(0, 1).take_gpu("auto")
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "6"
    with pytest.raises(HarnessError, match="wants GPU 3, and 1 are visible"):
        Worker(0, 3).take_gpu("cuda")


def test_the_command_of_the_workers() -> None:
    given = ["run", "--on", "gpus", "--suite", "digits", "--dry-run", "--on=processes:2"]
    assert without(("--on", "--dry-run"), given) == ["run", "--suite", "digits"]


@pytest.mark.parametrize(
    "where, said", [("gpus", "no GPU here"), ("processes:0", "at least one"), ("mars", "gpus, gpus:N, processes:N")]
)
def test_places_that_do_not_exist_are_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], where: str, said: str
) -> None:
    code, text = harness(monkeypatch, capsys, "run", "--on", where)
    assert code == 2 and said in text


def test_the_status_of_a_run_in_progress(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    seen: list[str] = []

    def look(progress: Progress) -> None:
        if progress.done == 8:
            seen.append(harness(monkeypatch, capsys, "status", str(tmp_path))[1])

    run_small(tmp_path, TINY, claims=Leased(), report=look)
    assert "1 of 4" in seen[0] or "2 of 4" in seen[0]
    assert f"process {os.getpid()}: part 0001" in seen[0] and "last sign of life" in seen[0]
    assert "No run is in progress" in harness(monkeypatch, capsys, "status", str(tmp_path))[1]


def test_a_lease_that_is_half_written_is_none(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.lease("one").write_text("pid=")
    folder.failure("one").write_text(json.dumps({"error": "x"}))
    assert not folder.leases()


def test_slurm_settings_become_a_script() -> None:
    script = Slurm(workers=16, partition="gpu", memory="64G", time="1:30").script(["run", "--out", "a b"])
    for line in ("#SBATCH --array=0-15", "#SBATCH --partition=gpu", "#SBATCH --mem=64G", "#SBATCH --requeue"):
        assert line in script.splitlines()
    assert 'HARNESS_WORKER="$SLURM_ARRAY_TASK_ID"' in script and "run --out 'a b' &" in script
    assert "account" not in script
    assert Slurm(time="1:30").minutes == 90 and Slurm(time="0:00:30").minutes == 1


@pytest.mark.parametrize("settings", [{"workers": 0}, {"gpus": -1}, {"time": "soon"}, {"cluster": "moon"}])
def test_slurm_settings_that_mean_nothing_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(HarnessError, match="--on slurm"):
        Slurm(**settings)


def test_a_script_for_slurm_is_printed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    where = ["--on", "slurm:workers=3,partition=gpu"]
    code, text = harness(monkeypatch, capsys, "run", "--suite", "digits", *where, "--dry-run")
    assert code == 0 and "--array=0-2" in text and text.endswith('run --suite digits & worker=$! wait "$worker"')
    code, text = harness(monkeypatch, capsys, "run", "--on", "processes:2", "--dry-run")
    assert code == 2 and "Leave --on out" in text


class Job:
    """A finished job as submitit has it."""

    def __init__(self, result: int | None) -> None:
        self._result = result
        self.paths = type("Paths", (), {"stderr": "job.err"})

    def done(self) -> bool:
        return True

    def exception(self) -> Exception | None:
        return RuntimeError("killed") if self._result is None else None

    def result(self) -> int | None:
        return self._result

    def stderr(self) -> str:
        return "" if self._result is None else "Error: no such model"


def test_a_job_that_was_killed_is_submitted_anew(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    submitted: list[int] = []

    class Executor:
        def map_array(self, work: Any, ranks: range) -> list[Job]:
            return [Job(0), Job(None)]

        def submit(self, work: Any, rank: int) -> Job:
            submitted.append(rank)
            return Job(0)

    monkeypatch.setattr(slurm, "_executor", lambda settings, logs: Executor())
    monkeypatch.setattr(slurm, "TICK", 0.0)
    slurm.submit_and_wait(Slurm(workers=2, cluster="local"), ["run"], tmp_path, lambda: None)
    assert submitted == [1]


def test_what_a_job_refuses_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(
        slurm, "_executor", lambda settings, logs: type("E", (), {"map_array": lambda self, work, ranks: [Job(2)]})()
    )
    with pytest.raises(HarnessError, match=r"no such model\nThe whole log: job.err"):
        slurm.submit_and_wait(Slurm(workers=1), ["run"], tmp_path, lambda: None)


def test_the_end_of_the_launcher_ends_its_workers(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from harness.base import interruption; interruption.handle();"
        "from harness.evaluation.launch.engines.local import Supervised, supervise;"
        "sleep = [sys.executable, '-c', 'import os, pathlib, sys, time; "
        "pathlib.Path(sys.argv[1]).write_text(str(os.getpid())); time.sleep(60)', sys.argv[1]];"
        "supervise([Supervised(sleep, {}, Path(sys.argv[1] + '.log'), True)], lambda: None)"
    )
    told = tmp_path / "pid"
    launcher = subprocess.Popen([sys.executable, "-c", program, str(told)], cwd=ROOT, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not (told.exists() and told.read_text()) and time.monotonic() < deadline:
        time.sleep(0.02)
    launcher.terminate()
    assert launcher.wait() == 143
    worker = Path("/proc", told.read_text(), "cmdline")
    while worker.exists() and worker.read_bytes() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not (worker.exists() and worker.read_bytes())
