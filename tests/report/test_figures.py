"""Figures for papers: few rows, names in full, one colour per classifier, text that stays text."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
from helpers import ROOT

from harness.base.errors import Notice
from harness.evaluation.records.record import RunRecord
from harness.report import boards
from harness.report.colours import PALETTE
from harness.report.figures import draw
from harness.report.figures.style import COLUMN, colour, styled, wrapped


@pytest.fixture(scope="module")
def board() -> list[RunRecord]:
    """The shipped board of clean digits: ten classifiers under four methods."""
    (entries,) = boards.boards(boards.find(ROOT / "results" / "digits")).values()
    return entries


def renamed(entry: RunRecord, name: str) -> RunRecord:
    return replace(entry, model=replace(entry.model, name=name))


@pytest.mark.parametrize(
    "name", ["digits/resnet+augmix+deepaugment+diffaug", "x" * 70, "a" * 30 + "+" + "b" * 30, "a, b"]
)
def test_a_wrapped_name_keeps_every_character(name: str) -> None:
    lines = wrapped(name, 24).split("\n")
    assert "".join(lines).replace(" ", "") == name.replace(" ", "")
    assert all(len(line) <= 24 for line in lines)


def test_a_figure_holds_twelve_rows_and_says_which_are_left_out(board: list[RunRecord]) -> None:
    many = [renamed(board[0], f"model-{k:02}") for k in range(15)]
    with styled([]), pytest.warns(Notice, match=r"best 12 of 15 classifiers.*--models.*model-12, model-13, model-14"):
        figure = draw.ranking(many)
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert labels == [f"model-{k:02}" for k in range(12)]
    assert "12 of 15" in figure.get_suptitle()


def test_lines_of_many_classifiers_and_methods_are_as_few(recwarn: pytest.WarningsRecorder) -> None:
    points = {(f"m{k:02}", f"t{j}"): [(0.0, 1.0, 0.9, 1.1), (1.0, 2.0, 1.9, 2.1)] for k in range(14) for j in range(5)}
    with styled([]):
        figure = draw.lines(points, "t", "value", "board")
    assert len(figure.axes) == 4 and {len(axes.lines) for axes in figure.axes} == {12}
    assert len(recwarn) == 2


def test_a_classifier_has_one_colour_whatever_else_is_drawn(board: list[RunRecord], tmp_path: Path) -> None:
    names = sorted({entry.model.name for entry in board})
    alone = [entry for entry in board if entry.model.name == names[3]]
    with styled(names):
        expected = colour(names[3])
        drawn = draw.ranking(alone).axes[0].lines[0].get_color()
    assert drawn == expected == PALETTE[3][0]


def test_a_map_of_detectors_has_room_for_its_numbers() -> None:
    values = {(f"m{k}", f"d{j:02}"): 1 - j / 40 for k in range(3) for j in range(15)}
    with styled([]), pytest.warns(Notice, match="best 10 of 15 detectors.*--detectors"):
        drawn = draw.heat_maps({"near": values, "far": values}, "board")
    axes = drawn["near"].axes[0]
    assert [label.get_text() for label in axes.get_xticklabels()] == [f"d{j:02}" for j in range(10)]
    assert {text.get_text() for text in axes.texts} >= {"100", "97.5", "77.5"}


def test_a_few_pairs_are_drawn_of_many() -> None:
    rows = [(f"m{k % 6}", f"d{k % 5}") for k in range(30)]
    picked = draw.few(rows)
    assert picked[0] == rows[0] and len(picked) == 4
    assert len({m for m, _ in picked}) == len({d for _, d in picked}) == 4
    assert draw.few(rows[:4]) == rows[:4]


def test_files_are_small_one_column_wide_and_hold_text(board: list[RunRecord], tmp_path: Path) -> None:
    few = [entry for entry in board if "+augmix" in entry.model.name]
    png, svg = draw.write(few, tmp_path)
    text = svg.read_text()
    assert svg.stat().st_size < 300_000 and png.stat().st_size < 300_000
    width = re.search(r'width="([\d.]+)pt"', text)
    assert width and float(width.group(1)) == pytest.approx(72 * COLUMN)
    assert all(f">{line}</text>" in text for line in ("digits/resnet+augmix", "+deepaugment+diffaug", "dda-se"))
    assert draw.write(few, tmp_path)[1].read_text() == text, "the same records make the same SVG"
