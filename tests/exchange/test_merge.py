"""Records of another folder: verified, copied in one piece, never over others."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from exchange.forging import Forgery, shipped
from helpers import harness

from harness import plugins
from harness.evaluation.records import record
from harness.exchange import merge as merging
from harness.exchange.folders import files_of
from harness.exchange.inputs import DataAtHand
from harness.exchange.merge import CONFLICT, COPIED, IDENTICAL, REFUSED, Merged, lines, merge
from harness.exchange.verify import verify


@pytest.fixture(scope="module")
def inputs() -> DataAtHand:
    """The embedded data sets, opened once."""
    plugins.discover()
    return DataAtHand()


@pytest.fixture
def theirs(tmp_path: Path) -> Path:
    """Two good records, and one with an edited value."""
    folder = tmp_path / "theirs"
    for pair in ("digits.vit--default", "digits.vit--de"):
        Forgery.of(shipped("digits", pair)).write(folder)
    edited = Forgery.of(shipped("digits", "digits.vit--dda"))
    edited.values["metrics"][0]["value"] = 0.999
    edited.write(folder)
    return folder


def merged(source: Path, into: Path, inputs: DataAtHand, dry_run: bool = False) -> list[Merged]:
    return merge(verify(files_of([source]), inputs), into, dry_run)


def test_good_records_are_copied_with_their_tables_and_edited_ones_left_out(
    theirs: Path, inputs: DataAtHand, tmp_path: Path
) -> None:
    into = tmp_path / "ours"
    dry = merged(theirs, into, inputs, dry_run=True)
    assert not into.exists()
    outcomes = merged(theirs, into, inputs)
    assert [m.outcome for m in outcomes] == [m.outcome for m in dry] == [REFUSED, COPIED, COPIED]
    assert "accuracy of clean is 0.999" in outcomes[0].reason or "outside of its interval" in outcomes[0].reason
    copied = [record.load(file) for file in sorted(into.rglob("*.json"))]
    assert len(copied) == 2 and all(len(entry.rows()["id"]) == 600 for entry in copied)
    for file in into.rglob("*.json"):
        assert file.read_bytes() == (theirs / file.relative_to(into)).read_bytes()
    assert [m.outcome for m in merged(theirs, into, inputs)] == [REFUSED, IDENTICAL, IDENTICAL]


def test_a_record_of_the_same_key_and_other_metrics_is_a_conflict_that_names_both(
    theirs: Path, inputs: DataAtHand, tmp_path: Path
) -> None:
    into = tmp_path / "ours"
    other = Forgery.of(shipped("digits", "digits.vit--default"))
    other.values["metrics"][0]["value"] -= 1e-4
    kept = other.write(into)
    before = kept.read_bytes()
    (outcome,) = (m for m in merged(theirs, into, inputs) if m.file.name == kept.name)
    assert outcome.outcome == CONFLICT and str(kept) in outcome.reason and "other metrics" in outcome.reason
    assert kept.read_bytes() == before


def test_a_rerun_on_another_processor_is_the_same(theirs: Path, inputs: DataAtHand, tmp_path: Path) -> None:
    """Last bits of metrics, and another writer of the same rows: neither is a conflict."""
    into = tmp_path / "ours"
    other = Forgery.of(shipped("digits", "digits.vit--default"))
    for metric in other.values["metrics"]:
        metric["value"] *= 1 + 1e-12
    kept = other.write(into)
    pq.write_table(other.table, kept.with_suffix(".parquet"), compression="gzip")
    other.values["samples"]["sha256"] = hashlib.sha256(kept.with_suffix(".parquet").read_bytes()).hexdigest()
    other.values["sha256"] = record.sha256_of(other.values)
    kept.write_text(json.dumps(other.values))
    (outcome,) = (m for m in merged(theirs, into, inputs) if m.file.name == kept.name)
    assert outcome.outcome == IDENTICAL, outcome.reason


def test_a_copy_that_is_cut_short_leaves_no_record_without_its_table(
    theirs: Path, inputs: DataAtHand, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    into = tmp_path / "ours"
    with monkeypatch.context() as patch:
        patch.setattr(merging, "serialised", lambda subject: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            merged(theirs, into, inputs)
    assert not list(into.rglob("*.json")) and len(list(into.rglob("*.parquet"))) == 1
    assert [m.outcome for m in merged(theirs, into, inputs)] == [REFUSED, COPIED, COPIED]


def test_a_record_of_another_schema_is_left_out_with_the_reason(
    theirs: Path, inputs: DataAtHand, tmp_path: Path
) -> None:
    newer = theirs / "digits" / "newer.json"
    newer.write_text(json.dumps({"schema": 2}))
    (outcome,) = (m for m in merged(theirs, tmp_path / "ours", inputs) if m.file == newer)
    assert outcome.outcome == REFUSED and "schema 2" in outcome.reason


def test_the_command_sums_up_and_exits_with_1_where_something_is_left_out(
    theirs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ("results", "merge", str(theirs), "--into", str(tmp_path / "ours"))
    code, printed = harness(monkeypatch, capsys, *arguments)
    assert code == 1 and "3 records: 2 copied, 0 already there, 0 conflict, 1 left out." in printed


def test_a_dry_run_says_what_would_be_copied() -> None:
    merged = [Merged(Path("a.json"), "a", COPIED)]
    assert lines(merged, dry_run=True)[-1].startswith("1 records: 1 would be copied, ")
    assert lines(merged)[-1].startswith("1 records: 1 copied, ")
