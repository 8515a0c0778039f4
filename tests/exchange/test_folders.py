"""One set of record files: what tables and pages read is what verify and merge look at."""

from __future__ import annotations

from pathlib import Path

import pytest
from exchange.forging import Forgery, shipped
from helpers import CHEAP, harness, run_small

from harness.exchange.folders import files_of
from harness.report import boards


@pytest.mark.parametrize("place", ["figures", "gallery", "published", ".hidden", "local/figures", "digits/.parts"])
def test_a_forged_record_in_a_folder_that_verify_skips_is_in_no_table(place: str, tmp_path: Path) -> None:
    good = Forgery.of(shipped("digits", "digits.vit--default")).write(tmp_path)
    forged = Forgery.of(shipped("digits", "digits.vit--de"))
    forged.values["metrics"][0]["value"] = 1.0
    forged.write(tmp_path / place)
    assert [entry.path for entry in boards.find(tmp_path)] == files_of([tmp_path]) == [good]


def test_tables_and_verify_read_the_same_files_wherever_else_they_lie(tmp_path: Path) -> None:
    written = {
        Forgery.of(shipped("digits", f"digits.vit--{method}")).write(tmp_path / place)
        for place, method in (("local", "default"), ("mine/deeper", "de"), (".", "dda"))
    }
    assert {entry.path for entry in boards.find(tmp_path)} == set(files_of([tmp_path])) == written


def test_records_of_weights_with_an_absolute_path_are_read_by_all(tmp_path: Path) -> None:
    """Their file names begin with a dot."""
    forgery = Forgery.of(shipped("digits", "digits.vit--default"))
    name = "/home/you/mine.safetensors"
    forgery.values["model"] |= {"name": name, "sha256": "ab" * 32, "source": "mine.safetensors"}
    forgery.values["spec"]["models"] = [name]
    file = forgery.write(tmp_path)
    assert file.name.startswith(".home")
    assert [entry.path for entry in boards.find(tmp_path)] == files_of([tmp_path]) == [file]


def test_logits_are_found_beside_a_record_of_the_same_key_that_ranks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As in a clone: shipped records have no logits, and a run with logits goes to local/ under the same keys."""
    whole = {**CHEAP, "suite": "digits", "limit": 20, "every": 1, "tile": 20, "models": ("digits/resnet", "digits/vit")}
    plain = run_small(tmp_path, whole)
    kept = run_small(tmp_path / "local", {**whole, "keep_logits": True})
    assert [entry.key for entry in plain] == [entry.key for entry in kept]
    assert not any(entry.spec.keep_logits for entry in boards.find(tmp_path)), "the shipped ones rank"
    where = ("--results", str(tmp_path), "--suite", "digits")
    names = ("digits/resnet:default", "digits/vit:default")
    code, printed = harness(monkeypatch, capsys, "ensemble", *names, *where, "--out", str(tmp_path / "local"))
    assert code == 0 and "Wrote" in printed, printed
    code, printed = harness(monkeypatch, capsys, "posthoc", names[0], *where)
    assert code == 0 and "Prediction sets of digits/resnet:default" in printed, printed
