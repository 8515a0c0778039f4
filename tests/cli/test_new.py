"""`harness new`: files that run at once, tests that pass, and nothing that is overwritten."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path

import pytest
from helpers import ROOT, harness, outputs

from harness.cli.commands.new import COMMANDS, NewKind

SLOW = (NewKind.detector, NewKind.smoother, NewKind.augmentation, NewKind.architecture)
"""Kinds whose command takes seconds: they are planned here, and the same files run on the page `docs/extend.md`."""


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])  # pytest in pytest adds the folder of the tests


def name_of(kind: NewKind) -> str:
    return f"try-{kind}"


def test_every_kind_has_a_file_whose_test_passes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for kind in NewKind:
        code, printed = harness(monkeypatch, capsys, "new", kind, name_of(kind))
        assert code == 0 and f"pytest test_try_{kind}.py" in printed, printed
    ended = pytest.main(["-q", "-p", "no:cacheprovider", "-p", "no:xdist", "--rootdir=.", "."])
    printed = capsys.readouterr().out
    assert ended == 0, printed
    passed = re.search(r"(\d+) passed", printed)
    assert passed and int(passed[1]) >= 3 * len(NewKind), printed


@pytest.mark.parametrize("kind", NewKind)
def test_the_command_that_is_printed_runs(
    kind: NewKind, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    harness_out = outputs(monkeypatch, capsys, "new", kind, name_of(kind))[1]
    command = COMMANDS[kind].format(file=f"try_{kind}.py", name=name_of(kind))
    assert command in harness_out
    arguments = shlex.split(command)[1:]
    arguments += ["--dry-run"] if kind in SLOW else []
    monkeypatch.setattr("harness.train.estimate.BUDGET", 0.01)
    code, printed = harness(monkeypatch, capsys, *arguments)
    assert code == 0, printed
    if arguments[0] == "run" and kind not in SLOW:
        assert list(Path("results/local").rglob("*.json"))


def test_files_are_never_overwritten(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for existing in ("mine.py", "test_mine.py"):
        Path(existing).write_text("precious")
        code, printed = harness(monkeypatch, capsys, "new", "method", "mine")
        assert code == 2 and f"{existing} exists and is kept as it is" in printed
        assert [path.name for path in Path().iterdir()] == [existing] and Path(existing).read_text() == "precious"
        Path(existing).unlink()


@pytest.mark.parametrize(
    "arguments, message",
    [
        (("methd", "mine"), "Unknown kind of plugin 'methd'. Did you mean method"),
        (("method", "de"), "there is a method of that name"),
        (("dataset", "certify"), "there is a suite of that name"),
        (("method", "1st"), "use letters, digits and single hyphens"),
        (("corruption", "standard"), "is not 'standard'"),
        (("method", "a/b"), "use letters, digits and single hyphens"),
        (("method", "views"), "views means something else in the file"),
        (("corruption", "for"), "a Python file's name is"),
        (("corruption", "for", "--out", "ok.py"), "for means something else in the file"),
        (("method", "mine", "--out", "mine.txt"), "a Python file's name is"),
        (("method", "mine", "--out", "a-b.py"), "a Python file's name is"),
        (("method", "mine", "--out", "random.py"), "would hide the module 'random'"),
        (("method", "torch"), "would hide the module 'torch'"),
    ],
)
def test_names_that_would_not_work_are_refused(
    arguments: tuple[str, ...], message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, printed = harness(monkeypatch, capsys, "new", *arguments)
    assert code == 2 and message in printed, printed
    assert not list(Path().iterdir())


def test_the_file_may_have_another_name_and_folder(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, printed = harness(monkeypatch, capsys, "new", "method", "mine", "--out", "own/first.py")
    assert code == 0 and "harness run --plugin own/first.py" in printed and "--tta mine" in printed
    assert '@method("mine")' in Path("own/first.py").read_text()
    assert 'with_name("first.py")' in Path("own/test_first.py").read_text()


def test_templates_are_installed() -> None:
    """`pip install .` copies data that pyproject.toml names."""
    assert '"harness.cli" = ["templates/*/*.py"]' in (ROOT / "pyproject.toml").read_text()
    for folder in ("plugin", "test"):
        files = {path.stem for path in (ROOT / "harness" / "cli" / "templates" / folder).iterdir()}
        assert files - {"__pycache__"} == {*NewKind}
