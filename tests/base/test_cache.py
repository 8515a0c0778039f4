"""Results in the cache folder: given for their own mark, and only as they were stored."""

from __future__ import annotations

import os
import time
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


def test_results_that_nobody_asks_for_are_deleted(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "_swept", set())
    for age, mark in enumerate(["new", "old", "asked for", "ancient"]):
        cache.store("lists", mark, b"content")
        (file,) = [file for file in folder.rglob("lists/*") if file.stat().st_mtime > time.time() - 3600]
        os.utime(file, (time.time() - age * 40 * 86_400 - 7200,) * 2)
    assert cache.load("lists", "asked for") == b"content", "which makes it new"
    monkeypatch.setattr(cache, "_swept", set())
    cache.store("lists", "last", b"content")
    marks = ("new", "old", "asked for", "ancient", "last")
    assert [mark for mark in marks if cache.load("lists", mark)] == ["new", "old", "asked for", "last"]
    monkeypatch.setattr(cache, "_swept", set())
    monkeypatch.setattr(cache, "KEPT", 2 * max(file.stat().st_size for file in folder.rglob("lists/*")))
    cache.store("lists", "another", b"content")
    assert len(list(folder.rglob("lists/*"))) == 2 and cache.load("lists", "another")
