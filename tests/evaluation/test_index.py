"""The index of checked records: the same records, and none that changed, however the index itself is damaged."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers import ROOT

from harness.base import cache
from harness.base.errors import HarnessError
from harness.evaluation.records import index, record
from harness.report import boards


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Six shipped records of three suites and a file that is none, last changed an hour ago; an empty cache folder."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(index, "FEWEST", 3)
    monkeypatch.setattr(index, "SETTLED", -1.0)
    results = tmp_path / "results"
    for suite in ("digits-c", "certify", "openood-digits"):
        for file in sorted((ROOT / "results" / suite).glob("*.json"))[:2]:
            (results / suite).mkdir(parents=True, exist_ok=True)
            (results / suite / file.name).write_bytes(file.read_bytes())
    (results / "notes.json").write_text("[]")
    for file in results.rglob("*.json"):
        os.utime(file, (time.time() - 3600, time.time() - 3600))
    yield results


def found(folder: Path) -> tuple[list[record.RunRecord], int]:
    """The records that are found, and how many of them were read from their files."""
    read: list[Path] = []
    load = record.load
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(record, "load", lambda file: (read.append(file), load(file))[1])
        entries = boards.find(folder, lambda reason: None)
    return entries, len([file for file in read if file.name != "notes.json"])


def index_file() -> Path:
    (file,) = (Path(os.environ["XDG_CACHE_HOME"]) / "robustness-harness" / "records").iterdir()
    return file


def test_records_of_an_index_are_those_of_the_files(folder: Path) -> None:
    read, first = found(folder)
    indexed, second = found(folder)
    assert (first, second) == (6, 0) and indexed == read
    for before, after in zip(read, indexed, strict=True):
        assert before.path == after.path and repr(vars(before)) == repr(vars(after))
        assert record.serialised(after) == record.serialised(before)


def test_a_record_that_changed_is_read_and_refused_anew(folder: Path) -> None:
    found(folder)
    changed = sorted(folder.glob("digits-c/*.json"))[0]
    values = json.loads(changed.read_text())
    values["metrics"][0]["value"] = values["metrics"][0]["interval"][0]
    state = changed.stat()
    changed.write_text(json.dumps(values).ljust(state.st_size))
    os.utime(changed, ns=(state.st_atime_ns, state.st_mtime_ns))
    entries, read = found(folder)
    assert read == 1 and len(entries) == 5 and changed not in [entry.path for entry in entries]
    with pytest.raises(HarnessError, match="SHA-256"):
        boards.find(folder / "digits-c")


def test_new_moved_and_deleted_records_are_noticed(folder: Path) -> None:
    found(folder)
    one, other = sorted(folder.glob("digits-c/*.json"))
    one.unlink()
    os.replace(other, folder / other.name)
    entries, read = found(folder)
    assert read == 1 and {entry.path for entry in entries if entry.suite == "digits-c"} == {folder / other.name}
    assert found(folder)[1] == 0, "the index follows"


@pytest.mark.parametrize("damage", ["cut", "foreign", "other code", "other folder"])
def test_a_damaged_or_foreign_index_counts_as_absent(
    folder: Path, damage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected, _ = found(folder)
    file = index_file()
    if damage == "cut":
        file.write_bytes(file.read_bytes()[:-100])
    elif damage == "foreign":
        mark = index._mark(folder)
        cache.store("records", mark, b'{"kinds": [], "records": {"notes.json": [1]}}', file.name)
    elif damage == "other code":
        monkeypatch.setattr(index, "_mark", lambda root: "newer")
    else:
        moved = folder.rename(folder.with_name("moved"))
        file.rename(file.with_name(index._name(moved)))
        assert found(moved)[1] == 6
        return
    assert found(folder) == (expected, 6) and found(folder) == (expected, 0)


def test_fresh_files_few_files_and_a_cache_that_cannot_be_written_leave_no_index(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache_folder = Path(os.environ["XDG_CACHE_HOME"])
    monkeypatch.setattr(index, "SETTLED", 60.0)  # copies count as fresh, whatever their time of content says
    assert found(folder)[1] == found(folder)[1] == 6
    monkeypatch.setattr(index, "SETTLED", -1.0)
    monkeypatch.setattr(index, "FEWEST", 100)
    assert found(folder)[1] == found(folder)[1] == 6 and not cache_folder.exists()
    monkeypatch.setattr(index, "FEWEST", 3)
    cache_folder.write_text("a file in the way")
    assert found(folder)[1] == found(folder)[1] == 6
    assert not [file for file in folder.rglob("*") if file.is_file() and file.suffix != ".json"]


@pytest.mark.parametrize("module", ["keys", "coverage", "rules", "provenance"])
def test_an_index_is_of_the_code_that_decides_a_check(module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before, read = index._mark(Path()), Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda file: read(file) + (b"#" if file.stem == module else b""))
    assert index._mark(Path()) != before
