"""Commands that only read start fast: they import no torch, and remember what plugins say between commands."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from dataclasses import asdict, replace
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
from helpers import ROOT, process

from harness.evaluation.records import record
from harness.plugins.cache import remembered

HEAVY = ("torch", "timm", "diffusers", "pandas", "statsmodels", "scipy", "matplotlib", "pyarrow")

PROGRAM = f"""
import sys
from harness.cli import main
try:
    main()
finally:
    print("IMPORTED", [name for name in {HEAVY} if name in sys.modules], file=sys.stderr)
"""
"""Runs a command, then names the heavy packages that it has imported."""

PAIR = ("compare", "digits/resnet:default", "digits/resnet:de", "--suite", "digits")


def harness(*arguments: str, cache: Path) -> subprocess.CompletedProcess[str]:
    """Run a command under `PROGRAM`."""
    return process(*arguments, program=("-c", PROGRAM), XDG_CACHE_HOME=str(cache))


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.mark.parametrize(
    "command",
    ["--help", "run --help", "train --help", "list --help", "leaderboard", "leaderboard --suite certify --published"],
)
def test_help_and_leaderboards_import_nothing_heavy(command: str, cache: Path) -> None:
    if command == "leaderboard":  # whose ranks are computed once
        assert harness(command, cache=cache).returncode == 0
    done = harness(*command.split(), cache=cache)
    assert done.returncode == 0 and "IMPORTED []" in done.stderr, done.stderr


def test_metrics_and_reports_import_no_torch() -> None:
    program = """
import importlib, pkgutil, sys
import harness.metrics, harness.report, harness.evaluation.records.sample_table, harness.types
for package in (harness.metrics, harness.report):
    names = [module.name for module in pkgutil.iter_modules(package.__path__, package.__name__ + ".")]
    assert len(names) > 5, names
    for name in names:
        importlib.import_module(name)
print([name for name in ("torch", "timm", "diffusers", "matplotlib") if name in sys.modules])
"""
    done = process(program=("-c", program))
    assert done.stdout == "[]\n", done.stderr


@pytest.mark.parametrize("command", [("list",), PAIR])
def test_lists_and_comparisons_are_remembered(command: tuple[str, ...], cache: Path) -> None:
    first, again = harness(*command, cache=cache), harness(*command, cache=cache)
    assert first.returncode == again.returncode == 0, first.stderr
    assert "torch" in first.stderr and "IMPORTED []" in again.stderr, again.stderr
    assert first.stdout == again.stdout and len(first.stdout) > 200


def test_plugins_from_a_file_are_listed_beside_what_is_remembered(tmp_path: Path, cache: Path) -> None:
    plugin = tmp_path / "mine.py"
    plugin.write_text('from harness.plugins import method\n\n@method("mine")\ndef mine():\n    """A method."""\n')
    harness("list", "tta", cache=cache)
    done = harness("list", "tta", "--plugin", str(plugin), cache=cache)
    assert "mine" in done.stdout and "A method." in done.stdout and "de" in done.stdout
    assert "A method." not in harness("list", "tta", cache=cache).stdout


def test_a_wrong_key_is_noticed_although_no_plugin_is_loaded(tmp_path: Path, cache: Path) -> None:
    shipped = record.load(min((ROOT / "results" / "digits").glob("*.json")))
    forged = asdict(replace(shipped, key="0" * 12))
    del forged["path"]
    forged = json.loads(json.dumps(forged))
    forged["sha256"] = record.sha256_of(forged)
    (tmp_path / "forged.json").write_text(json.dumps(forged))
    done = harness("leaderboard", "--results", str(tmp_path), cache=cache)
    assert done.returncode == 2 and "its key 000000000000 is that of other settings" in done.stderr


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[int]]:
    """A function that asks a question, and returns the answer: how often it has been computed."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    count = [0]

    def answer() -> list[int]:
        count[0] += 1
        return list(count)

    return lambda *inputs: remembered("question", answer, *inputs)


def test_an_answer_is_computed_once_for_the_same_inputs(asked: Callable[..., list[int]]) -> None:
    assert asked() == asked() == [1]
    assert asked("a") == asked("a") == [2] and asked("b") == [3]
    assert asked() == [1]


def test_an_answer_is_computed_anew_when_a_plugin_changes(
    asked: Callable[..., list[int]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "plugins"
    folder.mkdir()
    monkeypatch.setattr("harness.plugins.cache._folders", lambda package: [folder])
    plugin, weights = folder / "mine.py", folder / "mine.safetensors"
    assert asked() == [1]
    plugin.write_text("a = 1")
    assert asked() == asked() == [2]
    plugin.write_text("a = 2")
    assert asked() == [3]
    weights.write_bytes(b"1")
    assert asked() == asked() == [4]
    weights.unlink()
    assert asked() == [5]


def test_a_damaged_answer_is_computed_anew(asked: Callable[..., list[int]], tmp_path: Path) -> None:
    assert asked() == [1]
    (file,) = (tmp_path / "cache").rglob("*.json")
    content = file.read_bytes()
    for damage in (content.replace(b"[1]", b"[9]"), content[:20], b"", b"[9]\n"):
        file.write_bytes(damage)
        assert asked() != [9]
    assert asked() == [5]


def test_nothing_is_remembered_where_nothing_can_be_written(
    asked: Callable[..., list[int]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cache").write_text("a file in the place of the folder")
    assert [asked(), asked()] == [[1], [2]]


def test_nothing_is_remembered_beside_installed_plugin_packages(
    asked: Callable[..., list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    point = EntryPoint("other", "other", "harness.plugins")
    monkeypatch.setattr("harness.plugins.cache.entry_points", lambda group: [point])
    assert [asked(), asked()] == [[1], [2]]
