"""The programs of studies/: each starts, says how it is called, and finds what it measures."""

from __future__ import annotations

import csv
import importlib
import re
import runpy
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness import plugins

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted((ROOT / "studies").rglob("*.py"))
PROGRAMS = [file for file in FILES if '\nif __name__ == "__main__":\n' in file.read_text()]
PARTS = {"seeds.py", "usual_intervals.py", "authors_loop.py", "machine.py"}
"""Files that programs import and nobody starts."""
STUDIES = sorted(file.stem for file in PROGRAMS if "\nSTUDY = Study(" in file.read_text())
"""Programs that compare trainings over seeds."""


def relative(file: Path) -> str:
    """A path as the documentation writes it."""
    return str(file.relative_to(ROOT))


@pytest.fixture(autouse=True)
def siblings(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Drop the modules that a program imports from its own folder, whose names are short, after each test."""
    yield
    for name in {file.stem for file in FILES} & sys.modules.keys():
        monkeypatch.delitem(sys.modules, name)


@pytest.mark.parametrize("program", PROGRAMS, ids=relative)
def test_programs_start_and_say_how_they_are_called(
    program: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(program.parent)
    monkeypatch.setattr(sys, "argv", [str(program), "--help"])
    with pytest.raises(SystemExit) as stop:
        runpy.run_path(str(program), run_name="__main__")
    usage = capsys.readouterr().out
    assert not stop.value.code
    assert "usage" in usage.lower() and program.name in usage


def test_every_file_is_a_program_or_a_part_of_one() -> None:
    assert {file.name for file in set(FILES) - set(PROGRAMS)} == PARTS


def test_commands_in_pages_and_docstrings_name_programs() -> None:
    """`python studies/X.py` in a result, a docstring or the documentation is a program of that path."""
    pages = [*FILES, *(ROOT / "results").glob("*.md"), *(ROOT / "docs").glob("*.md"), ROOT / "README.md"]
    names = {name for page in pages for name in re.findall(r"python (studies/[\w/]+\.py)", page.read_text())}
    assert names == {relative(program) for program in PROGRAMS}


@pytest.mark.parametrize("name", STUDIES)
def test_studies_over_seeds_make_their_tables_from_a_csv_file(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Two trainings of each way, the later ways one hundredth ahead: every mean and difference comes out by hand."""
    monkeypatch.syspath_prepend(ROOT / "studies")
    study = importlib.import_module(name).STUDY
    values = {way: 0.5 + place / 100 for place, way in enumerate(study.names)}
    file = tmp_path / f"{name}.csv"
    with file.open("w", newline="") as opened:
        writer = csv.writer(opened)
        writer.writerow(["classifier", "seed", "sha256", "seconds", *study.columns])
        for way, value in values.items():
            writer.writerows([way, seed, "0", "1800", *[value] * len(study.cells)] for seed in (0, 1))
    means, differences = study.tables(study.read(file))
    assert [row[0] for row in means.rows] == study.names and all(row[-1] == "2" for row in means.rows)
    for row, way in zip(means.rows, study.names, strict=True):
        assert row[1:-1] == [f"{cell.factor * values[way]:.{cell.digits}f}" for cell in study.cells]
    for row, (before, after) in zip(differences.rows, study.pairs, strict=False):
        gain = values[after] - values[before]
        assert row[1:-1] == [f"{cell.factor * gain:+.{cell.digits}f}" for cell in study.cells]
    plugins.discover()
    assert all(cell.suite.partition(":")[0] in plugins.suite for cell in study.cells)
    architectures = {way.partition("+")[0] for way in study.names}
    assert all(architecture in plugins.architecture for architecture in architectures)


def test_the_guides_that_are_timed_exist(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "studies" / "timing")
    plugins.discover()
    for guide, model in importlib.import_module("guided_sampling").ROWS:
        entry = plugins.guide.configure(guide).entry
        assert bool(entry.facts.get("classifier")) == bool(model)
        assert not model or model in plugins.model


def test_the_checks_that_are_timed_exist(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "studies" / "timing")
    for functions in importlib.import_module("checks").CHECKED.values():
        assert all(callable(getattr(module, function)) for module, function in functions)
