"""Ranks of boards: from sample tables once, then from memory; no sets, and the reason, where these lack."""

from __future__ import annotations

import math
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from helpers import ROOT

from harness.evaluation.records import index, sample_table
from harness.evaluation.records.record import RunRecord
from harness.report import boards, leaderboard
from harness.report.page.board_section import rank_cell, rank_sentence
from harness.report.ranks import suites
from harness.report.ranks.board_ranks import SEEDS, TOP, Ranks, board_ranks


@pytest.fixture(autouse=True)
def memory(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty cache folder."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture
def board(tmp_path: Path) -> list[RunRecord]:
    """A few records of the corrupted digits, to damage."""
    for method in ("default", "dda"):
        for file in (ROOT / "results" / "digits-c").glob(f"digits.resnet*--{method}--*"):
            if "deepaugment" not in file.name:
                shutil.copy(file, tmp_path)
    (entries,) = boards.boards(boards.find(tmp_path)).values()
    assert len(entries) == 8
    return entries


def test_sets_hold_the_places_and_follow_from_who_is_better(board: list[RunRecord]) -> None:
    ranks = board_ranks(board)
    assert not ranks.reason and ranks.column == ("mean_accuracy", "mean")
    for row, (best, worst) in enumerate(ranks.sets):
        assert best == 1 + sum(j == row for _, j in ranks.better)
        assert worst == len(board) - sum(i == row for i, _ in ranks.better)
        assert best <= row + 1 <= worst
    assert ranks.is_top(0) and not ranks.is_top(len(board) - 1)


def test_a_second_call_reads_no_sample_table(board: list[RunRecord], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index, "SETTLED", 0.0)
    first = board_ranks(board)
    monkeypatch.delattr(sample_table, "content")
    monkeypatch.delattr(RunRecord, "rows")
    monkeypatch.delattr(suites, "loaded")
    assert board_ranks(board) == first
    with pytest.raises(AttributeError):
        board_ranks(board, ("mce", "mean"))


def test_a_missing_or_damaged_table_leaves_its_row_without_a_set_and_the_others_with_theirs(
    board: list[RunRecord],
) -> None:
    path = board[3].path
    assert path
    table = path.with_name(board[3].samples["file"])
    content = table.read_bytes()
    others = board_ranks([*board[:3], *board[4:]])
    table.write_bytes(content[:-1] + b"?")
    ranks = board_ranks(board)
    assert ranks.sets[3] is None and [*ranks.sets[:3], *ranks.sets[4:]] == others.sets
    name = f"{board[3].model.name}:{board[3].method}"
    assert ranks.reason == f"the sample table of {name} is damaged, or another record's"
    assert (ranks.spell(3), ranks.cell(3), ranks.is_top(3)) == ("", "", False)
    assert all(math.isnan(value) for value in ranks.numbers(3).values())
    table.unlink()
    assert board_ranks(board).reason == f"the sample table of {name} is not beside its record"
    shown = leaderboard.ranking(board)
    assert f"1 of 8 rows have no rank: the sample table of {name} is not beside its record." in shown.caption
    assert [not row[0] for row in shown.rows] == [k == 3 for k in range(8)]
    assert "6 neighbours can be told apart" in shown.caption
    assert rank_cell(board_ranks(board), 3).text == "–" and "1 of 8 rows" in rank_sentence(board, board_ranks(board))
    for entry in board:
        assert entry.path
        entry.path.with_name(entry.samples["file"]).unlink(missing_ok=True)
    ranks = board_ranks(board)
    assert not ranks.sets and ranks.reason.endswith("; and so on for 5 more")
    assert leaderboard.ranking(board).caption.startswith("No ranks: the sample table of")


def test_a_table_that_is_damaged_after_its_ranks_were_remembered_is_noticed(
    board: list[RunRecord], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index, "SETTLED", 0.0)
    first, path = board_ranks(board), board[0].path
    assert path and all(first.sets)
    table = path.with_name(board[0].samples["file"])
    content = table.read_bytes()
    table.write_bytes(content[:-1] + b"?")
    assert board_ranks(board).sets[0] is None
    table.write_bytes(content)
    assert board_ranks(board) == first
    monkeypatch.delattr(sample_table, "content")
    assert board_ranks(board) == first


def test_rows_on_other_images_have_no_sets_and_the_others_do(
    board: list[RunRecord], monkeypatch: pytest.MonkeyPatch
) -> None:
    original, others = RunRecord.rows, board_ranks(board[1:])

    def rows(entry: RunRecord, *needed: str) -> dict[str, object]:
        table = original(entry, *needed)
        if entry.key == board[0].key:
            table["id"] = table["id"].astype(object) + "x"
        return table

    monkeypatch.setattr(RunRecord, "rows", rows)
    ranks = board_ranks(board)
    assert ranks.sets == [None, *others.sets]
    assert ranks.reason == f"{board[0].model.name}:{board[0].method} is on other images than 7 other rows"
    assert sorted(ranks.better) == [(i + 1, j + 1) for i, j in sorted(others.better)]
    assert not board_ranks(board[:2]).sets and board_ranks(board[:2]).reason


def test_metrics_and_suites_without_contributions_have_no_sets_and_say_why(board: list[RunRecord]) -> None:
    assert board_ranks(board, ("ece", "mean")).reason == "ece is no sum of means over images"
    foreign = [replace(entry, suite="elsewhere") for entry in board]
    assert board_ranks(foreign).reason == "the plugin of elsewhere is not loaded: give its file with --plugin"
    assert board_ranks(board[:1]) == Ranks(("mean_accuracy", "mean"))


def test_tables_print_sets_mark_the_best_and_say_what_the_sets_mean(board: list[RunRecord]) -> None:
    ranks, table = board_ranks(board), leaderboard.ranking(board)
    assert [row[0] for row in table.rows] == [ranks.cell(k) for k in range(len(board))]
    assert table.rows[0][0].endswith(TOP) and TOP not in table.rows[-1][0]
    assert SEEDS in table.caption and f"{ranks.separable_neighbours} of 7 neighbours can be told apart" in table.caption
    for values, (best, worst) in zip(table.data, ranks.sets, strict=True):
        assert (values["rank_best"], values["rank_worst"]) == (best, worst)
        assert values["rank"] == best if best == worst else values["rank"] != values["rank"]
    cells = [cell for row in leaderboard.crosstab(board).rows for cell in row if TOP in cell]
    assert len(cells) == sum(ranks.is_top(k) for k in range(len(board)))


def test_a_set_is_spelt_as_a_place_only_where_it_is_one() -> None:
    ranks = Ranks(("accuracy", "clean"), [(1, 1), (2, 3), (2, 3)], frozenset({(0, 1), (0, 2)}))
    assert [ranks.cell(k) for k in range(3)] == [f"1 {TOP}", "2-3", "2-3"] and ranks.separable_neighbours == 1


def test_the_modules_of_all_suites_are_known_without_importing_them() -> None:
    from harness import plugins

    registered = {entry.name: entry.build.__module__ for entry in plugins.suite.entries() if not entry.source}
    assert {name: module for name, module in registered.items() if module.startswith("harness.suites")} == (
        suites._modules()
    )


def test_a_copied_record_ties_with_its_original(board: list[RunRecord]) -> None:
    ranks, doubled = board_ranks(board), board_ranks([board[0], *board])
    assert (0, 1) not in doubled.better and (1, 0) not in doubled.better
    assert doubled.sets[0] == doubled.sets[1] == (ranks.sets[0][0], ranks.sets[0][1] + 1)
