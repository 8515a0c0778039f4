"""Damage on disk is named and made anew, or ends in one message; it never becomes another number."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from helpers import SMALL, Outcome, outcome, run_small

from harness.base import files, sealed
from harness.base.errors import Notice
from harness.evaluation import part_in_progress
from harness.evaluation.launch.claims import Shard
from harness.evaluation.loop import Progress
from harness.evaluation.prepare import prepare
from harness.evaluation.records import parts
from harness.evaluation.records.record import RunRecord
from harness.types import HarnessError

TINY: dict[str, Any] = {
    "suite": "digits-c:severity=1", "models": ("digits/resnet",), "methods": ("default",),
    "denoiser": None, "limit": 8, "tile": 4,
}  # fmt: skip
"""Eight images under fifteen corruptions."""


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> list[RunRecord]:
    return run_small(tmp_path_factory.mktemp("good"), TINY)


@pytest.fixture(scope="module")
def half(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight finished parts and the interim state of a ninth."""
    out = tmp_path_factory.mktemp("half")

    def stop(tick: Progress) -> None:
        if tick.done >= 72:  # the second batch of the ninth part
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(part_in_progress, "KEEP_EVERY", 0.0)
        run_small(out, TINY, batch_size=4, report=stop)
    assert len(stored(out)) == 9
    return out


def stored(out: Path) -> list[Path]:
    """Parts and interim states."""
    files = (out / ".parts").rglob("*.*")
    return sorted(file for file in files if file.is_file() and file.suffix != ".probe")


def resumed(out: Path) -> tuple[Outcome, list[str]]:
    """The outcome of the same command on a folder, and its notices."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        records = run_small(out, TINY)
    return outcome(records), [str(w.message) for w in caught if issubclass(w.category, Notice)]


def flipped(data: bytes, bit: int) -> bytes:
    damaged = bytearray(data)
    damaged[bit // 8] ^= 1 << bit % 8
    return bytes(damaged)


def test_flipped_bits_in_parts_and_interim_states_change_no_number(
    half: Path, good: list[RunRecord], tmp_path: Path
) -> None:
    """Forty bits, ten in each of four rounds, in files drawn at random."""
    rng = np.random.default_rng(0)
    for number in range(4):
        out = tmp_path / str(number)
        shutil.copytree(half, out)
        hit = set()
        for _ in range(10):
            file = stored(out)[rng.integers(9)]
            data = file.read_bytes()
            file.write_bytes(flipped(data, int(rng.integers(8 * len(data)))))
            hit.add(file)
        result, notices = resumed(out)
        assert result == outcome(good)
        assert any(file.name in text and "damaged" in text for text in notices for file in hit)
        assert not stored(out)


def rewritten(change: Callable[[pa.Table], pa.Table]) -> Callable[[list[Path]], bytes]:
    """A first part that another program has read, changed and written, with the metadata that it found."""

    def damage(files: list[Path]) -> bytes:
        sink = pa.BufferOutputStream()
        pq.write_table(change(pq.read_table(files[0])), sink)
        return sink.getvalue().to_pybytes()

    return damage


DAMAGE: dict[str, Callable[[list[Path]], bytes]] = {
    "empty": lambda files: b"",
    "cut short": lambda files: files[0].read_bytes()[:-100],
    "a zeroed page": lambda files: files[0].read_bytes()[:4] + bytes(200) + files[0].read_bytes()[204:],
    "another part's content": lambda files: files[1].read_bytes(),
    "without a hash, as older versions wrote it": rewritten(lambda table: table),
    "other ids": rewritten(lambda table: table.set_column(0, "id", pa.array(["zz"] * len(table)))),
    "a column less": rewritten(lambda table: table.drop_columns(table.column_names[-1:])),
    "no cost": rewritten(lambda table: table.replace_schema_metadata(None)),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_part_that_is_not_what_was_written_is_named_and_computed_anew(
    damage: Callable[[list[Path]], bytes], half: Path, good: list[RunRecord], tmp_path: Path
) -> None:
    shutil.copytree(half, tmp_path, dirs_exist_ok=True)
    files = stored(tmp_path)
    files[0].write_bytes(damage(files))
    result, (notice,) = resumed(tmp_path)
    assert result == outcome(good)
    assert str(files[0]) in notice and "computed anew" in notice


CHANGES: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "another sample": (lambda rows: rows["id"].__setitem__(0, "zz"), "samples"),
    "one sample twice": (lambda rows: rows["id"].__setitem__(0, rows["id"][1]), "samples"),
    "another order": (lambda rows: rows["id"].__setitem__(slice(None), rows["id"][::-1].copy()), "samples"),
    "another condition": (lambda rows: rows["condition"].__setitem__(0, "fog/1"), "condition"),
    "another label": (lambda rows: rows["label"].__setitem__(0, 10), "labels"),
    "text for numbers": (lambda rows: rows.__setitem__("prediction", rows["id"]), "prediction"),
    "no numbers": (lambda rows: [rows.pop(name) for name in list(rows)[3:]], "columns"),
}


@pytest.mark.parametrize("change, reason", CHANGES.values(), ids=CHANGES)
def test_a_part_is_checked_against_the_plan(
    change: Callable[[dict[str, Any]], object], reason: str, half: Path, tmp_path: Path
) -> None:
    """Also where the hash agrees."""
    shutil.copytree(half, tmp_path, dirs_exist_ok=True)
    file = stored(tmp_path)[0]
    part = prepare(replace(SMALL, **TINY), tmp_path).parts[0]
    rows, cost = parts.read(file, part, every_image=True)
    rows = {name: np.array(values) for name, values in rows.items()}
    change(rows)
    parts.write(file, rows, cost)
    with pytest.raises(sealed.Damaged, match=reason):
        parts.read(file, part, every_image=True)


def test_a_part_without_a_sample_is_incomplete_and_not_damaged(half: Path, tmp_path: Path) -> None:
    """Only a run that skipped an image writes such a part."""
    shutil.copytree(half, tmp_path, dirs_exist_ok=True)
    file = stored(tmp_path)[0]
    part = prepare(replace(SMALL, **TINY), tmp_path).parts[0]
    rows, cost = parts.read(file, part, every_image=True)
    fewer = {name: values[1:] for name, values in rows.items()}
    parts.write(file, fewer, cost)
    with pytest.raises(parts.Incomplete, match="1 of its images could not be read"):
        parts.read(file, part, every_image=True)
    again, _ = parts.read(file, part, every_image=False)
    assert again["id"].tolist() == rows["id"][1:].tolist()
    fewer["label"] = fewer["label"] + 1
    parts.write(file, fewer, cost)
    with pytest.raises(sealed.Damaged, match="labels"):
        parts.read(file, part, every_image=False)


def test_a_part_of_another_pair_is_not_taken(half: Path, good: list[RunRecord], tmp_path: Path) -> None:
    other = tmp_path / "other"
    with pytest.raises(KeyboardInterrupt):
        run_small(other, {**TINY, "models": ("digits/vit",)}, report=stop_after_one)
    shutil.copytree(half, tmp_path / "half")
    foreign = stored(other)[0]
    replaced = stored(tmp_path / "half")[0]
    assert foreign.name == replaced.name
    shutil.copy(foreign, replaced)
    result, (notice,) = resumed(tmp_path / "half")
    assert result == outcome(good) and replaced.name in notice


def stop_after_one(progress: Progress) -> None:
    if progress.done > 8:
        raise KeyboardInterrupt


@pytest.mark.parametrize("damage", ["no table", "flipped table", "cut record", "record of another"])
def test_a_record_counts_only_with_its_sample_table(damage: str, good: list[RunRecord], tmp_path: Path) -> None:
    (entry,) = run_small(tmp_path, TINY)
    assert entry.path
    table = entry.path.with_suffix(".parquet")
    if damage == "no table":
        table.unlink()
    elif damage == "flipped table":
        table.write_bytes(flipped(table.read_bytes(), 8000))
    elif damage == "cut record":
        entry.path.write_bytes(entry.path.read_bytes()[:-40])
    else:
        values = json.loads(entry.path.read_text())
        entry.path.write_text(json.dumps({**values, "key": "0" * 12, "sha256": ""}))
    result, (notice,) = resumed(tmp_path)
    assert result == outcome(good)
    assert (entry.path if "record" in damage else table).name in notice
    assert hashlib.sha256(table.read_bytes()).hexdigest() == entry.samples["sha256"]


def test_a_folder_that_disappears_is_no_success(tmp_path: Path) -> None:
    def remove(tick: Progress) -> None:
        if tick.done == 40:
            shutil.rmtree(tmp_path / "out" / ".parts")

    with pytest.raises(HarnessError, match=r"5 of 15 parts of digits/resnet under default are no longer in .*\.parts"):
        run_small(tmp_path / "out", TINY, report=remove)
    assert len(stored(tmp_path / "out")) == 10


def test_a_shard_waits_for_others_but_not_for_what_it_has_lost(tmp_path: Path) -> None:
    def remove(tick: Progress) -> None:
        if tick.done == 40:
            shutil.rmtree(tmp_path / "lost" / ".parts")

    assert run_small(tmp_path / "kept", TINY, claims=Shard(0, 2)) == []
    with pytest.raises(HarnessError, match="5 of 15 parts"):
        run_small(tmp_path / "lost", TINY, report=remove, claims=Shard(0, 2))


def test_two_runs_of_the_same_leave_one_record_and_no_parts(good: list[RunRecord], tmp_path: Path) -> None:
    inner: list[Outcome] = []

    def again(tick: Progress) -> None:
        if tick.done == 40 and not inner:
            inner.append(outcome(run_small(tmp_path, TINY)))

    outer = outcome(run_small(tmp_path, TINY, report=again))
    assert inner == [outer] == [outcome(good)]
    assert not stored(tmp_path)


def test_a_finished_run_is_shown_from_a_folder_that_is_read_only(
    good: list[RunRecord], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: Any, **options: Any) -> None:
        raise OSError(30, "Read-only file system")

    run_small(tmp_path, TINY)
    for name in ("mkdir", "write_bytes", "unlink", "rmdir", "write_text"):
        monkeypatch.setattr(Path, name, refuse)
    assert outcome(run_small(tmp_path, TINY)) == outcome(good)
    with pytest.raises(HarnessError, match=r"Cannot write to .*Read-only.*--out"):
        run_small(tmp_path, {**TINY, "limit": 4}, report=lambda tick: pytest.fail("it computed"))


def test_unfinished_files_of_dead_processes_are_swept(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), files.writing(tmp_path / "a") as mine:
        mine.touch()
        raise KeyboardInterrupt
    assert not list(tmp_path.iterdir()), "a process that lives cleans up"
    dead = 2**22 + 1  # no system gives out such a number
    left = tmp_path / mine.name.replace(f"-{os.getpid()}-", f"-{dead}-")
    elsewhere = tmp_path / f".a.00000000-{dead}-01234567.partial"
    for file in (left, mine, elsewhere):
        file.touch()
    files.sweep(tmp_path)
    assert {file.name for file in tmp_path.iterdir()} == {mine.name, elsewhere.name}
    os.utime(elsewhere, (0, 0))
    files.sweep(tmp_path)
    assert list(tmp_path.iterdir()) == [mine]


def test_every_flipped_bit_breaks_a_seal(tmp_path: Path) -> None:
    content = bytearray(b"numbers" + sealed.BLANK + b"more")
    sealed.write(tmp_path / "file", content, 7, "name")
    content_read = sealed.read(tmp_path / "file", "name")
    for bit in range(8 * len(content_read)):
        (tmp_path / "file").write_bytes(flipped(content_read, bit))
        with pytest.raises(sealed.Damaged):
            sealed.read(tmp_path / "file", "name")
    (tmp_path / "file").write_bytes(content_read)
    with pytest.raises(sealed.Damaged, match="name"):
        sealed.read(tmp_path / "file", "other")
