"""``harness figure`` as users type it: figures of records."""

from __future__ import annotations

import csv
import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from helpers import ROOT, harness, process, run_small
from small_denoisers import random_conditional

from harness import plugins
from harness.diffusion.schedule import cosine, linear
from harness.report import boards
from harness.types import Weights

FEW = {
    "entropy-vs-t": ("digits.resnet--*", "digits.resnet+diffaug--*", "digits.vit--*"),
    "noisy-accuracy": ("digits.resnet--*", "digits.resnet+diffaug--*"),
    "certify": ("digits.vit--*", "digits.vit+diffaug--*"),
    "de-times": ("digits.resnet*",),
}
"""Shipped records, by folder."""

FIGURES = ("entropy", "noise-accuracy", "certified", "de-times", "lambda")


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A results folder with a few records of each suite that a figure reads."""
    folder = tmp_path_factory.mktemp("results")
    for suite, patterns in FEW.items():
        for file in (file for pattern in patterns for file in (ROOT / "results" / suite).glob(pattern)):
            (folder / suite).mkdir(exist_ok=True)
            shutil.copy(file, folder / suite)
    former = dict(plugins.denoiser._entries)
    plugins.denoiser("tiny")(lambda: (random_conditional(), Weights("tiny", "0" * 64, "test")))
    suite = "conditional-diffaug:times=300,600,lambdas=0,0.5,1"
    models = ("digits/resnet", "digits/resnet+diffaug")
    run_small(folder, {"suite": suite, "models": models, "methods": ("default",), "denoiser": "tiny", "limit": 4})
    plugins.denoiser._entries = former
    yield folder


def rows_of(file: Path) -> list[dict[str, str]]:
    with file.open() as opened:
        return list(csv.DictReader(opened))


def draw(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str, results: Path, out: Path, *more: str
) -> list[dict[str, str]]:
    """Draw a figure; the rows of its CSV."""
    code, printed = harness(monkeypatch, capsys, "figure", name, "--results", str(results), "--out", str(out), *more)
    assert code == 0, printed
    stem = out / name.partition(":")[0]
    assert printed == "Wrote " + ", ".join(f"{stem}.{suffix}" for suffix in ("png", "svg", "csv", "txt"))
    return rows_of(Path(f"{stem}.csv"))


PROGRAM = """
import sys
from harness.cli.app import app
results, out, *names = sys.argv[1:]
for name in names:
    app(["figure", name, "--results", results, "--out", out], standalone_mode=False)
print("torch" in sys.modules)
"""


@pytest.fixture(scope="module")
def elsewhere(results: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All figures, drawn by another process, which needs no torch for them."""
    out = tmp_path_factory.mktemp("elsewhere")
    done = process(str(results), str(out), *FIGURES, program=("-c", PROGRAM))
    assert done.returncode == 0 and done.stdout.endswith("False\n"), done.stderr
    return out


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_is_four_files_of_the_same_bytes_in_each_process(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    results: Path,
    elsewhere: Path,
    tmp_path: Path,
    name: str,
) -> None:
    rows = draw(monkeypatch, capsys, name, results, tmp_path)
    first = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    assert set(first) == {f"{name}.{suffix}" for suffix in ("png", "svg", "csv", "txt")}
    assert first == {file: (elsewhere / file).read_bytes() for file in first}
    svg, caption = first[f"{name}.svg"].decode(), first[f"{name}.txt"].decode()
    width = re.search(r'width="([\d.]+)pt"', svg)
    assert width and float(width[1]) == 72 * 3.5 and "</text>" in svg
    keys = {entry.key for entry in boards.find(results) if entry.key in caption}
    assert len(keys) == len({(row["model"], row["method"]) for row in rows}) >= 2
    assert all(float(row["low"]) <= float(row["value"]) <= float(row["high"]) for row in rows)


@pytest.mark.parametrize(
    ("name", "metric", "condition"),
    [
        ("entropy", "mean_entropy", "t={t}"),
        ("noise-accuracy", "accuracy", "t={time}"),
        ("lambda", "accuracy", "{time} lambda={lambda}"),
        ("de-times", "mean_accuracy", "step={step} t={t}"),
    ],
)
def test_the_numbers_are_those_of_the_records(
    results: Path, elsewhere: Path, name: str, metric: str, condition: str
) -> None:
    suite = plugins.figure.configure(name).plugin.suite
    entries = {(e.model.name, e.method): e for e in boards.find(results) if e.suite.partition(":")[0] == suite}
    rows = rows_of(elsewhere / f"{name}.csv")
    for row in rows:
        where = "t=0" if (name, row.get("t")) == ("de-times", "0") else condition.format(**row)
        measured = entries[row["model"], row["method"]].metric(metric, where)
        assert measured is not None
        assert [float(row[c]) for c in ("value", "low", "high")] == [measured.value, *measured.interval]
        assert int(row["n"]) == measured.n
    steps = 3 if name == "de-times" else 1  # each of which begins with the image alone
    drawn = sum(m.name == metric and m.condition[:1] in "ts" for e in entries.values() for m in e.metrics)
    assert len(rows) == drawn + (steps - 1) * len(entries)


def test_certified_accuracy_is_the_records_at_every_radius(results: Path, elsewhere: Path) -> None:
    rows = rows_of(elsewhere / "certified.csv")
    assert {row["n"] for row in rows} == {"100"}, "of two boards the one of more images"
    entries = {e.model.name: e for e in boards.find(results) if e.suite == "certify:n=10000"}
    for model, sigma in {(row["model"], row["noise"]) for row in rows}:
        line = [
            (float(row["radius"]), float(row["value"]))
            for row in rows
            if (row["model"], row["noise"]) == (model, sigma)
        ]
        for radius in (0.0, 0.5, 1.0, 1.5, 2.5):
            metric = entries[model].metric("certified_accuracy", f"{sigma} r={radius:g}")
            # The curve holds from the radius before up to each of its radii.
            value = next((share for end, share in line if end >= radius), 0.0)
            assert metric and value == pytest.approx(metric.value, abs=1e-12)


def test_the_noise_scale_stands_in_for_the_time_where_that_is_asked(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    results: Path,
    elsewhere: Path,
    tmp_path: Path,
) -> None:
    by_time = rows_of(elsewhere / "noise-accuracy.csv")
    by_noise = draw(monkeypatch, capsys, "noise-accuracy:noise", results, tmp_path)
    assert [row["value"] for row in by_noise] == [row["value"] for row in by_time]
    assert float(by_noise[0]["noise"]) == pytest.approx(0.01, abs=1e-4), "beta_0 of the linear schedule is 1e-4"
    assert "noise scale" in (tmp_path / "noise-accuracy.svg").read_text()


def test_each_record_has_the_noise_scales_of_its_own_denoiser(results: Path) -> None:
    entries = [entry for entry in boards.find(results) if entry.suite == "noisy-accuracy"]
    denoiser = replace(entries[1].denoiser, details={**entries[1].denoiser.details, "schedule": "cosine"})
    entries[1] = replace(entries[1], denoiser=denoiser)
    figure = plugins.figure.configure("noise-accuracy:by=noise").plugin
    drawing = figure(SimpleNamespace(records=lambda suite: entries))
    for place, entry in enumerate(entries):
        (first, *_) = [row[2] for row in drawing.rows if row[:2] == (entry.model.name, entry.method)]
        time = min(int(m.condition[2:]) for m in entry.metrics if m.name == "accuracy" and m.condition[:2] == "t=")
        kept = (cosine if place == 1 else linear)(1000).alpha_bar[time]
        assert first == pytest.approx(((1 - kept) / kept) ** 0.5)


def test_without_a_results_folder_the_records_are_those_of_the_project(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    code, printed = harness(monkeypatch, capsys, "figure", "de-times", "--dry-run")
    assert code == 0 and f"the records are those of the project, in {ROOT / 'results'}" in printed
    assert f"records of de-times in {ROOT / 'results'}" in printed
    Path("results").mkdir()
    code, printed = harness(monkeypatch, capsys, "figure", "de-times", "--dry-run")
    assert code == 2 and "no records of suite 'de-times'" in printed and "repository has records" in printed


def test_models_choose_the_lines(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], results: Path, tmp_path: Path
) -> None:
    rows = draw(monkeypatch, capsys, "entropy", results, tmp_path, "--model", "digits/resnet*")
    assert {row["model"] for row in rows} == {"digits/resnet", "digits/resnet+diffaug"}


def test_a_dry_run_says_what_is_read_and_writes_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], results: Path, tmp_path: Path
) -> None:
    arguments = ("figure", "certified", "--results", str(results), "--out", str(tmp_path / "out"), "--dry-run")
    code, printed = harness(monkeypatch, capsys, *arguments)
    assert code == 0 and f"Reads 2 records of certify in {results}: 100 of 600 images (every 6th)." in printed
    assert "Would write" in printed and not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["entropi"], ["Unknown figure 'entropi'", "entropy"]),
        (["entropy:suites=x"], ["Unknown setting 'suites'", "suite"]),
        (["entropy", "--model", "digits/vti"], ["Unknown model 'digits/vti'", "digits/vit"]),
        (["entropy:suite=digits-c"], ["no records of suite 'digits-c'", "harness run --suite digits-c", "--results"]),
        (["entropy:suite=certify"], ["no mean_entropy", "another suite"]),
        (["noise-accuracy:by=sigma"], ["by='sigma' must be one of time, noise"]),
        (["entropy", "--denoiser", "digits"], ["--denoiser: figure entropy takes none"]),
        (["certified", "--data", "x"], ["--data: figure certified takes none"]),
        (["certified", "--weights", "resnet50=x.pth"], ["--weights: figure certified takes none"]),
        (["entropy", "--out", "{file}/figures"], ["Cannot write to", "--out"]),
    ],
)
def test_mistakes_are_explained(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    results: Path,
    tmp_path: Path,
    arguments: list[str],
    parts: list[str],
) -> None:
    (tmp_path / "file").write_text("")
    out = [] if "--out" in arguments else ["--out", str(tmp_path / "out")]
    typed = [text.format(file=tmp_path / "file") for text in arguments]
    code, printed = harness(monkeypatch, capsys, "figure", *typed, "--results", str(results), *out)
    assert code == 2
    for part in parts:
        assert part in printed, printed


def test_a_figure_of_the_users_own(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], results: Path, tmp_path: Path
) -> None:
    text = re.search(r"```python\n(# my_figure.py\n.*?)```", (ROOT / "docs" / "figures.md").read_text(), re.DOTALL)
    assert text
    file = tmp_path / "my_figure.py"
    file.write_text(text[1])
    rows = draw(monkeypatch, capsys, "cost", results, tmp_path / "out", "--plugin", str(file))
    assert rows and set(rows[0]) == {"model", "seconds"}
    assert "cost" in harness(monkeypatch, capsys, "figure", "--plugin", str(file))[1]


def test_a_figure_that_gives_something_else_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    plugins.figure("none")(type("Nothing", (), {"__call__": lambda self, sources: None}))
    code, printed = harness(monkeypatch, capsys, "figure", "none", "--out", str(tmp_path))
    assert code == 2 and "gave a NoneType; it must return a Drawing" in printed


def test_figures_are_listed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    code, printed = harness(monkeypatch, capsys, "figure")
    assert code == 0 and all(name in printed for name in FIGURES)
    code, printed = harness(monkeypatch, capsys, "list", "figures", "--json")
    listed = {entry["name"]: entry for entry in json.loads(printed)}
    assert "Figure 10" in listed["certified"]["facts"]["paper"]
