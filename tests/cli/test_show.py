"""``harness show`` and the options of ``harness leaderboard``, as commands."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
from helpers import ROOT, outputs

from harness.evaluation.records import record
from harness.report.record_page import line_of_python, record_tables

FOLDER = ROOT / "results" / "certify"


@pytest.fixture
def entry(monkeypatch: pytest.MonkeyPatch) -> record.RunRecord:
    monkeypatch.chdir(ROOT)
    return record.load(next(Path("results/certify").glob("digits.vit--denoise--3d73df3b67de.json")))


@pytest.mark.parametrize(
    "text", ["digits/vit:denoise", "3d73df", "results/certify/digits.vit--denoise--3d73df3b67de.json"]
)
def test_a_record_is_shown_by_name_key_or_file(
    text: str, entry: record.RunRecord, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, printed, errors = outputs(monkeypatch, capsys, "show", text, "--results", str(FOLDER), "--suite", entry.suite)
    assert code == 0, errors
    denoiser = entry.denoiser
    assert denoiser
    for fact in (entry.key, entry.model.sha256, denoiser.sha256, entry.samples["sha256"], entry.data_sha256):
        assert fact in printed
    assert "n: source images" in printed and entry.notes[0][:40] in printed


def test_the_line_of_python_opens_the_samples(entry: record.RunRecord) -> None:
    names: dict[str, object] = {}
    exec(line_of_python(entry), names)
    assert len(names["samples"]) == entry.samples["rows"]  # type: ignore[arg-type]


def test_every_metric_of_a_record_stands_in_its_tables(entry: record.RunRecord) -> None:
    table = record_tables(entry)[0]
    assert table.title.startswith("digits/vit:denoise")
    shown = [cell for row in table.rows for cell in row[2:] if cell]
    assert len(shown) == len(entry.metrics) and len(table.rows) == len({m.condition for m in entry.metrics})


def test_metrics_over_all_conditions_stand_apart_and_shared_costs_say_so() -> None:
    entry = record.load(next((ROOT / "results" / "digits-c").glob("digits.resnet--dda--*.json")))
    tables = {table.title: table for table in record_tables(entry)}
    measured, overall, cost = record_tables(entry)[0], tables["Over all conditions"], tables["Cost"]
    assert measured.header == ["condition", "n", "accuracy (%)"] and len(measured.rows) == 15
    assert {row[0] for row in overall.rows} >= {"mean accuracy (%)", "mce (% of reference)"}
    assert len(measured.rows) + len(overall.rows) == len(entry.metrics)
    assert ["denoiser calls", "531000, shared by 16 pairs of classifier and method of that run"] in cost.rows
    assert not [row for row in cost.rows if "halvings" in row[0]]


def test_several_records_of_one_name_are_listed_with_their_keys(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, errors = outputs(monkeypatch, capsys, "show", "digits/vit:denoise", "--results", str(FOLDER))
    assert code == 2 and "means 2 records" in errors and "harness show " in errors and "3d73df3b67de" in errors
    code, _, errors = outputs(monkeypatch, capsys, "show", "digits/vti:denoise", "--results", str(FOLDER))
    assert code == 2 and "Did you mean digits/vit:denoise" in errors


def test_a_leaderboard_goes_to_a_file_in_the_format_of_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["leaderboard", "--results", str(FOLDER), "--suite", "certify:n=10000", "--models", "digits/vit*"]
    (tmp_path / "broken.json").write_text("{")
    for name, start in {"a.csv": "suite,", "a.md": "### certify", "a.tex": "% certify", "a.txt": "   "}.items():
        code, printed, errors = outputs(monkeypatch, capsys, *arguments, "--out", str(tmp_path / name))
        assert code == 0 and not printed and name in errors
        assert (tmp_path / name).read_text().startswith(start)
    rows = list(csv.DictReader(io.StringIO((tmp_path / "a.csv").read_text())))
    assert {row["model"] for row in rows} == {"digits/vit", "digits/vit+diffaug"}
    code, printed, errors = outputs(monkeypatch, capsys, *arguments, "--where", "average_certified_radius>9")
    assert code == 2 and "meets every filter" in errors
    code, printed, errors = outputs(monkeypatch, capsys, *arguments, "--columns", "certified_accuracy@sigma=0.5*")
    assert code == 0 and "sigma=0.5" in printed and "average" not in printed


def test_other_tables_are_data_too(
    entry: record.RunRecord, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "show.csv"
    code, printed, errors = outputs(monkeypatch, capsys, "show", str(entry.path), "--out", str(file))
    assert code == 0 and not printed and "show.csv" in errors
    rows = list(csv.DictReader(io.StringIO(file.read_text(), newline="")))
    values = [(m.name, m.condition, m.value) for m in entry.metrics]
    assert [(r["metric"], r["condition"], float(r["value"])) for r in rows[: len(values)]] == values
    assert ["Classifier", "SHA-256", entry.model.sha256] in [[r["table"], r["row"], r["value"]] for r in rows]
    arguments = ["effective", "digits", "digits-c", "--format"]
    code, printed, errors = outputs(monkeypatch, capsys, *arguments, "json")
    assert code == 0 and {"clean", "shifted", "effective_robustness", "low", "high"} <= json.loads(printed)[0].keys()
    code, _, errors = outputs(monkeypatch, capsys, *arguments, "macros")
    assert code == 2 and "Only leaderboards have macros" in errors


def test_one_bad_file_is_left_out_with_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    good = next(FOLDER.glob("digits.vit--denoise--3d73df3b67de.json"))
    (tmp_path / good.name).write_bytes(good.read_bytes())
    (tmp_path / "broken.json").write_text('{"model": "\x1b[31m"')
    code, printed, errors = outputs(monkeypatch, capsys, "leaderboard", "--results", str(tmp_path), "--format", "csv")
    assert code == 0 and "digits/vit,denoise" in printed and "Left out" in errors and "broken.json" in errors
