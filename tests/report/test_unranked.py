"""Rows of real test images and of an ideal generator: below the ranked ones of a board, in every format to read."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from harness.evaluation.records import record
from harness.evaluation.records.record import RunRecord
from harness.report import leaderboard
from harness.report.page.board_section import board_section
from harness.report.page.provenance import describe
from harness.report.ranks.unranked import IDEAL, REAL, floor_note, ideal_note, unranked
from harness.types import Metric

SHIPPED = Path(__file__).parents[2] / "results" / "guidance"


@pytest.fixture(scope="module")
def board() -> list[RunRecord]:
    return [record.load(file) for file in sorted(SHIPPED.glob("*.json"))]


def test_shipped_boards_end_with_both_rows_which_have_no_rank(board: list[RunRecord]) -> None:
    table = leaderboard.ranking(board)
    *ranked, real, ideal = table.rows
    assert len(ranked) == len(table.data) == len(board)
    assert [row[:3] for row in (real, ideal)] == [["", REAL, ""], ["", IDEAL, ""]]
    coverage = table.header.index("coverage[digits/resnet] (%)")
    assert (real[coverage], ideal[coverage]) == ("88.1 [83.8, 91.5]", "86.9")
    assert "real test images beside the training images, not ranked" in table.caption
    assert "600 real test images beside the training images have" not in table.caption
    environments = [describe(entry.environment) for entry in board]
    page = board_section(board, "guidance", "guidance", [], environments, {})[0].tables[0]
    assert [row.cells[0].text for row in page.rows[-2:]] == [REAL, IDEAL]
    assert page.rows[-2].cells[coverage].value == 88.1


def test_sentences_are_read_back_as_they_were_written(board: list[RunRecord]) -> None:
    """Also of the published Inception network, whose distance has another name."""
    metrics = [
        Metric("fid", "generated", -0.25, (-1.0, 2.5), 600, "squared distance", False),
        Metric("coverage[inception]", "generated", 0.5, (0.25, 0.75), 600, "fraction", True),
    ]
    notes = [
        floor_note("inception", 600, "reference images", metrics),
        ideal_note("inception", 600, "reference images", {"coverage": "86.9%"}),
    ]
    entry = replace(board[0], metrics=metrics, notes=[*notes, "Another note."])
    (real, ideal), read = unranked([entry])
    assert real.cells == {"fid": "-0.250 [-1.000, 2.500]", "coverage[inception]": "50.0 [25.0, 75.0]"}
    assert ideal.cells == {"coverage[inception]": "86.9"}
    assert read == set(notes)


def test_a_sentence_that_another_hand_changed_stays_a_note(board: list[RunRecord]) -> None:
    odd = floor_note("digits/resnet", 600, "training images", [board[0].metrics[0]]).replace(".", " <b>.", 1)
    assert unranked([replace(board[0], notes=[odd, "x" * 10**5])]) == ([], set())
    assert unranked([replace(board[0], notes=[]), board[1]]) == ([], set()), "not all records have it"
