"""Results in the cache folder: given for their own mark, and only as they were stored."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.base import cache


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "robustness-harness"


@pytest.mark.parametrize("content", [b"", b"text", b"two\nlines\n", bytes(range(256))])
@pytest.mark.usefixtures("folder")
def test_a_result_comes_back_under_its_mark_alone(content: bytes) -> None:
    assert cache.load("lists", "mark") is None
    cache.store("lists", "mark", content)
    assert cache.load("lists", "mark") == content
    assert cache.load("lists", "other") is None and cache.load("tables", "mark") is None


def test_a_mark_may_hold_bytes_that_are_no_text(folder: Path) -> None:
    cache.store("lists", "folder/\udcff", b"content")
    assert cache.load("lists", "folder/\udcff") == b"content" and len(list(folder.rglob("lists/*"))) == 1


def test_results_of_one_file_name_overwrite_each_other(folder: Path) -> None:
    for mark in ("first", "second"):
        cache.store("answers", mark, mark.encode(), "name")
    assert cache.load("answers", "first", "name") is None
    assert cache.load("answers", "second", "name") == b"second"
    assert [file.name for file in folder.rglob("answers/*")] == ["name"]


@pytest.mark.parametrize("place", [0, 3, 20, -1])
def test_a_damaged_result_counts_as_absent(folder: Path, place: int) -> None:
    cache.store("lists", "mark", b"content")
    (file,) = folder.rglob("lists/*")
    content = bytearray(file.read_bytes())
    content[place] ^= 1
    file.write_bytes(content)
    assert cache.load("lists", "mark") is None


def test_a_huge_file_is_not_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache.store("lists", "mark", b"content")
    (file,) = folder.rglob("lists/*")
    monkeypatch.setattr(cache, "LARGEST", file.stat().st_size - 1)
    assert cache.load("lists", "mark") is None


def test_nothing_is_stored_where_nothing_can_be_written(folder: Path) -> None:
    folder.write_text("a file in the place of the folder")
    cache.store("lists", "mark", b"content")
    assert cache.load("lists", "mark") is None
