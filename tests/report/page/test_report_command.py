"""``harness report``: the file that it writes, and the one that ships."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from helpers import harness
from pages import RESULTS

from harness.report.boards import find, is_local
from harness.report.page.build import page

MEGABYTES = 1.5
"""Size that the page of all shipped records may have."""


def test_the_shipped_page_is_that_of_the_shipped_records() -> None:
    """`harness report --write` makes it."""
    shipped = [entry for entry in find(RESULTS) if entry.path and not is_local(entry.path, RESULTS)]
    text = page(shipped, RESULTS)
    assert len(text.encode()) < MEGABYTES * 1e6
    assert (RESULTS / "report.html").read_text(encoding="utf-8") == text, "run: harness report --write"


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """A results folder with two shipped records, and one of the user's own."""
    for name, place in (("resnet", "digits"), ("vit", "digits"), ("vit+diffaug", "local/digits")):
        (tmp_path / "results" / place).mkdir(parents=True, exist_ok=True)
        for file in (RESULTS / "digits").glob(f"digits.{name}--default--*"):
            shutil.copy(file, tmp_path / "results" / place)
    return tmp_path / "results"


def test_one_file_holds_the_records_of_a_folder(
    results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, printed = harness(monkeypatch, capsys, "report", str(results), "--out", str(tmp_path / "new" / "page.html"))
    assert code == 0 and "from 3 records" in printed
    text = (tmp_path / "new" / "page.html").read_text(encoding="utf-8")
    assert "diffaug" in text and "digits/vit" in text
    code, printed = harness(monkeypatch, capsys, "report", str(results), "--write")
    assert code == 0 and "from 2 records" in printed
    assert "vit+diffaug--" not in (results / "report.html").read_text(encoding="utf-8")


def test_a_damaged_record_is_left_out_with_a_warning(
    results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = next((results / "digits").glob("digits.vit--*.json"))
    file.write_text(file.read_text().replace('"status": "complete"', '"status": "perfect"'))
    (results / "published").mkdir()
    (results / "published" / "odd.json").write_text("[]")
    code, printed = harness(monkeypatch, capsys, "report", str(results), "--out", str(tmp_path / "page.html"))
    assert code == 0 and "from 2 records" in printed
    assert printed.count("Left out") == 2


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["nowhere"], "No results folder"),
        ([".", "--suite", "digits-c"], "There are records of digits"),
        ([".", "--model", "digits/vitt"], "digits/vit"),
    ],
)
def test_mistakes_name_the_remedy(
    arguments: list[str],
    message: str,
    results: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(results)
    code, printed = harness(monkeypatch, capsys, "report", *arguments)
    assert code == 2 and message in printed
    assert not (results / "report.html").exists()
