"""Boards in other formats: numbers come back equal, hostile names stay text, LaTeX compiles."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
import subprocess
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from helpers import ROOT

from harness.base.errors import HarnessError, Notice
from harness.evaluation.records import record
from harness.report import leaderboard
from harness.report.formats import csv_text, latex, macros, view
from harness.report.formats.render import render
from harness.report.formats.view import View
from harness.report.names import spell
from harness.report.ranks.board_ranks import Ranks
from harness.report.record_page import metrics
from harness.report.table import Table

HOSTILE = "=cmd|'/c calc'!A1<script>alert(1)</script>\n\x1b[31m\\input{/etc/passwd}% _#$^~{}&\u4e2d"


@pytest.fixture(scope="module")
def entries() -> list[record.RunRecord]:
    """Three rows of digits-c, the last with a hostile name; without sample tables, so that no ranks are computed."""
    folder = ROOT / "results" / "digits-c"
    files = (next(folder.glob(f"digits.{name}--default*.json")) for name in ("resnet", "vit", "resnet+augmix"))
    board = [replace(record.load(file), path=None) for file in files]
    return [*board[:2], replace(board[2], model=replace(board[2].model, name=HOSTILE))]


@pytest.fixture
def shown(entries: list[record.RunRecord], monkeypatch: pytest.MonkeyPatch) -> View:
    """All three rows, with rank sets; the first two may be the best."""
    ranks = Ranks(("mean_accuracy", "mean"), [(1, 2), (1, 2), (3, 3)])
    for module in (leaderboard, view, macros):
        monkeypatch.setattr(module, "board_ranks", lambda board: ranks)
    return View(entries, range(3))


def test_csv_and_json_give_back_the_numbers_of_the_records(shown: View) -> None:
    text = render("csv", [shown])
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    metrics = [(entry, metric) for entry in shown.board for metric in entry.metrics]
    assert len(rows) == len(metrics) > 50
    for row, (entry, metric) in zip(rows, metrics, strict=True):
        numbers = (float(row["value"]), (float(row["low"]), float(row["high"])), int(row["n"]), row["unit"])
        assert numbers == (metric.value, metric.interval, metric.n, metric.unit)
        assert (row["metric"], row["condition"], row["key"]) == (metric.name, metric.condition, entry.key)
        assert row["model"] == (f"'{HOSTILE}" if entry.model.name == HOSTILE else entry.model.name)
        best = {"mean_accuracy": ["1", "1", "3"][shown.board.index(entry)]}.get(metric.name, "")
        assert row["rank_best"] == best
    assert list(rows[0])[:7] == ["suite", "version", "status", "coverage", "model", "method", "condition"]
    values = json.loads(render("json", [shown]))
    assert [row["model"] for row in values] == [entry.model.name for entry, _ in metrics]
    assert [(row["value"], row["low"], row["high"]) for row in values] == [(m.value, *m.interval) for _, m in metrics]


def test_chosen_rows_and_columns_are_those_of_the_data_too(shown: View) -> None:
    some = replace(shown, places=[1], patterns=["mce", "accuracy@fog/5"])
    rows = json.loads(render("json", [some]))
    assert [(row["metric"], row["condition"]) for row in rows] == [("accuracy", "fog/5"), ("mce", "mean")]
    assert {row["key"] for row in rows} == {shown.board[1].key}
    assert len(json.loads(render("json", [replace(shown, places=[1], metric="accuracy")]))) == 15
    assert render("csv", [replace(shown, places=[])]) == "\n"


class Fragment(HTMLParser):
    """Tags and texts of HTML."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.texts: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.add(tag)

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def test_html_shows_every_text_as_text(shown: View) -> None:
    text = render("html", [shown])

    fragment = Fragment()
    fragment.feed(text)
    assert fragment.tags == {"table", "caption", "strong", "thead", "tbody", "tr", "th", "td"}
    assert text.count('<tr class="top">') == 2
    assert any(r"<script>alert(1)</script>\n\x1b[31m" in shown_text for shown_text in fragment.texts)


def test_macros_have_names_of_letters_and_no_name_twice(shown: View) -> None:
    twice = replace(shown, places=[0, 1, 2, 0])
    text = render("macros", [twice, replace(twice, metric="accuracy")])
    names = re.findall(r"^\\newcommand\{\\([A-Za-z]+)\}\{[-\d.]+\}$", text, re.M)
    assert len(names) == len(set(names)) == text.count("\\newcommand") == 4 * (3 + 15) * 3 + 4
    assert "\\newcommand{\\harnessDigitsCDigitsVitDefaultMeanAccuracyRank}{1--2}" in text
    assert all(line.startswith(("%", "\\newcommand")) for line in text.splitlines()), "no name breaks its comment"


def test_latex_puts_numbers_in_columns_and_the_top_group_in_bold(shown: View) -> None:
    text = render("latex", [replace(shown, patterns=["mce", "mean_accuracy"])])
    assert "S[table-format=2.1]@{ }r" in text and r"\label{tab:digits-c}" in text
    rows = [line for line in text.splitlines() if line.endswith(r"\\")][1:]
    assert [row.startswith(r"\bfseries 1--2 ") for row in rows] == [True, True, False] and r"\input{" not in text
    value, low, high = re.findall(r"[\d.]+", spell(shown.board[1].metric("mce")))
    assert rf"\bfseries {value} & \bfseries {{[}}{low}, {high}{{]}}" in rows[1] and rows[2].count(" & ") == 2 + 2 * 2


def test_latex_captions_have_no_hashes_and_a_subset_has_its_own_label(shown: View) -> None:
    table = replace(shown, patterns=["mce"]).table()
    text = latex.text(table)
    hash = shown.board[0].data_sha256[:12]
    assert f"% Data {hash}, seed 0." in text and hash not in text.partition(r"\caption")[2]
    subset = latex.text(replace(table, title="digits-c v1, 100 of 600 images (subset)"))
    assert r"\label{tab:digits-c-100-of-600-images}" in subset


def test_latex_says_where_a_table_is_larger_than_a_page() -> None:
    narrow = Table("t", ["model", "mCE"], [["x", "51.2"]])
    assert r"\small" not in latex.text(narrow)
    with pytest.warns(Notice, match="about .* pt wide .* 60 rows long .* Choose --columns"):
        text = latex.text(replace(narrow, rows=[["x" * 90, "51.2"]] * 60))
    assert r"\small" in text and "% t: the table is about" in text


def test_headings_name_the_conditions_where_a_metric_has_several_columns(shown: View) -> None:
    several = replace(shown, patterns=["accuracy@fog/5", "accuracy@frost/5", "mce"]).table()
    assert several.header == [
        "rank",
        "model",
        "method",
        "accuracy fog/5 (%)",
        "accuracy frost/5 (%)",
        "mce (% of reference)",
    ]
    assert shown.table().header[3] == "mean accuracy (%)"


def test_published_tables_are_in_every_format_but_macros(shown: View) -> None:
    paper = Table("a paper", ["model", "mCE"], [["x", "51.2"]])
    assert "51.2" in render("markdown", [shown], [paper]) and "51.2" in render("latex", [], [paper])
    *measured, printed = csv.DictReader(io.StringIO(render("csv", [shown], [paper]), newline=""))
    assert len(measured) == sum(len(entry.metrics) for entry in shown.board) and measured[0]["table"] == ""
    assert {k: v for k, v in printed.items() if v} == {"table": "a paper", "row": "x", "column": "mCE", "value": "51.2"}
    assert json.loads(render("json", [], [paper])) == [{"table": "a paper", "row": "x", "column": "mCE", "value": 51.2}]
    with pytest.raises(HarnessError, match="--published has no macros"):
        render("macros", [shown], [paper])


def test_rows_of_trainings_are_data_too(shown: View) -> None:
    rows = json.loads(render("json", [replace(shown, seeds=True)]))
    assert {row["mean_accuracy"] for row in rows} == {e.metric("mean_accuracy").value for e in shown.board}
    assert {row["mean_accuracy low"] for row in rows} == {None}  # NaN, which JSON lacks: single trainings


def test_csv_keeps_columns_apart_where_rows_differ() -> None:
    rows = [{"a": 1, "b": 2.5}, {"b": "=x", "=c": None}]
    assert list(csv.reader(io.StringIO(csv_text.text(rows)))) == [["a", "b", "'=c"], ["1", "2.5", ""], ["", "'=x", ""]]


def test_captions_say_what_unusual_intervals_cover(entries: list[record.RunRecord]) -> None:
    for name in ("adaptive_ece", "smooth_ece", "coverage_at_5_risk", "ece", "nll"):
        [sentence] = leaderboard.covers([name])
        metric = replace(entries[0].metrics[0], name=name, condition="clean")
        board = [replace(entries[0], metrics=(metric,))]
        assert sentence in leaderboard.by_condition(board, name).caption
        assert sentence in metrics(board[0]).caption
    assert leaderboard.covers(["accuracy"]) == []


def test_long_names_are_cut_in_formats_to_read_alone(shown: View) -> None:
    long = replace(shown.board[0], model=replace(shown.board[0].model, name="n" * 10_000))
    view = replace(shown, board=[long, *shown.board[1:]])
    for name in ("markdown", "latex", "html"):
        text = render(name, [view])
        assert "n" * 190 + "..." in text and "n" * 201 not in text
    assert all("n" * 10_000 in render(name, [view]) for name in ("csv", "json"))


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="needs pdflatex, with booktabs and siunitx")
def test_latex_compiles(shown: View, tmp_path: Path) -> None:
    macro = r"\harnessDigitsCDigitsVitDefaultMeanAccuracyLow"
    tables = render("latex", [shown, replace(shown, metric="accuracy", patterns=["accuracy@fo*"])])
    (tmp_path / "numbers.tex").write_text(render("macros", [shown]), encoding="utf-8")
    (tmp_path / "paper.tex").write_text(
        rf"\documentclass{{article}}{latex.PREAMBLE}\begin{{document}}\input{{numbers}}{macro}" + "\n"
        rf"{tables}\end{{document}}",
        encoding="utf-8",
    )
    done = subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "paper.tex"],
        cwd=tmp_path, capture_output=True, text=True, errors="replace",
    )  # fmt: skip
    if "siunitx.sty' not found" in done.stdout or "booktabs.sty' not found" in done.stdout:
        pytest.skip("this TeX has no siunitx or booktabs")
    assert done.returncode == 0 and (tmp_path / "paper.pdf").stat().st_size > 10_000, done.stdout[-2000:]
