"""Ctrl-C and SIGTERM end with one sentence and their exit code, wherever the program is."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from helpers import ROOT, harness

from harness.base import interruption
from harness.evaluation import loop

RUN = ["run", "--suite", "digits-c", "--tta", "default", "--limit", "20", "--tile", "4", "--model", "digits/resnet"]
ADVICE = "Everything finished is kept: the same command, without --fresh, goes on.\n"
INSIDE = """
import os, signal, sys
import harness.cli
number, times, module = int(sys.argv.pop(1)), int(sys.argv.pop(1)), sys.argv.pop(1)

class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == module:
            for _ in range(times):
                os.kill(os.getpid(), number)

sys.meta_path.insert(0, Finder())
harness.cli.main()
"""
"""The command line, with signals while a module is being imported."""


@pytest.mark.parametrize(
    "number, code, times, word", [(signal.SIGINT, 130, 2, "Interrupted"), (signal.SIGTERM, 143, 1, "Terminated")]
)
@pytest.mark.parametrize("module", ["typer", "torch.nn"])
def test_a_signal_during_imports(number: int, code: int, times: int, word: str, module: str, tmp_path: Path) -> None:
    command = [sys.executable, "-c", INSIDE, str(int(number)), str(times), module, *RUN, "--out", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (code, f"{word}. {ADVICE}")


def test_the_advice_is_that_of_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    for command, advice in (("run", "without --fresh, goes on"), ("results", "give the same command again")):
        monkeypatch.setattr(sys, "argv", ["harness", command])
        assert advice in interruption.sentence(143)


def test_ctrl_c_at_work_keeps_parts_and_leaves_nothing_half_written(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "harness", *RUN, "--out", str(tmp_path)]
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while len(list(tmp_path.rglob("*.parquet"))) < 3 and time.monotonic() < deadline:
        time.sleep(0.01)
    for _ in range(2):
        process.send_signal(signal.SIGINT)
    _, printed = process.communicate()
    assert process.returncode == 130
    assert (
        printed.endswith(f"Interrupted. {ADVICE}") and printed.count("Interrupted") == 1 and "Traceback" not in printed
    )
    assert not [file for file in tmp_path.rglob("*") if file.name.endswith(".partial")]


def test_an_exception_in_place_of_a_signal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*arguments: object, **options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(loop, "run", interrupted)
    code, printed = harness(monkeypatch, capsys, *RUN, "--out", str(tmp_path))
    assert code == 130 and printed.endswith(f"Interrupted. {ADVICE.strip()}")


def test_names_that_the_locale_lacks_are_no_obstacle(tmp_path: Path) -> None:
    """Neither a letter outside ASCII where the locale is C, nor bytes that are not UTF-8."""
    out = os.fsdecode(os.fsencode(tmp_path) + b"/ergebnisse-\xff")
    odd = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    for environment, folder in ((odd, tmp_path / "ergebnisse-ü"), ({}, Path(out))):
        twice = ["--suite", "digits"] * 2
        command = [sys.executable, "-m", "harness", "run", *twice, *RUN[3:5], "--limit", "2", *RUN[-4:]]
        done = subprocess.run(
            [*command, "--out", str(folder)], cwd=ROOT, env={**os.environ, **environment}, capture_output=True
        )
        assert done.returncode == 0, done.stderr
        assert len(list(folder.rglob("*.json"))) == 1, "and a suite that is named twice counts once"
        assert b"Records written or found" in done.stdout and done.stdout.count(b"digits/resnet") == 1
        assert b"\\u" not in done.stdout.partition(b"Records")[0], "and tables are drawn in its letters"
