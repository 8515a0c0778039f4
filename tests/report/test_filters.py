"""Filters of rows and columns: patterns, conditions on metrics, near matches; ranks stay those of the whole board."""

from __future__ import annotations

from dataclasses import replace

import pytest
from helpers import ROOT

from harness.base.errors import HarnessError
from harness.evaluation.records import record
from harness.evaluation.records.record import RunRecord
from harness.report import leaderboard
from harness.report.filters import CALLS, RowFilter, check_columns, columns
from harness.report.ranks.board_ranks import Ranks

FILES = ("digits.vit--default", "digits.vit--dda--", "digits.vit+diffaug--dda-se", "digits.resnet--de--")


@pytest.fixture(scope="module")
def board() -> list[RunRecord]:
    """Four rows of digits-c, without their sample tables: no ranks are computed."""
    folder = ROOT / "results" / "digits-c"
    return [replace(record.load(next(folder.glob(f"{name}*.json"))), path=None) for name in FILES]


@pytest.mark.parametrize(
    "rows, places",
    [
        (RowFilter(), [0, 1, 2, 3]),
        (RowFilter(models=("digits/vit*",)), [0, 1, 2]),
        (RowFilter(models=("digits/resnet", "digits/vit")), [0, 1, 3]),
        (RowFilter(methods=("dda*", "de")), [1, 2, 3]),
        (RowFilter(models=("digits/vit",), methods=("dda",)), [1]),
        (RowFilter(where=("mean_accuracy>86%",)), [2]),
        (RowFilter(where=("mean accuracy > 0.86",)), [2]),
        (RowFilter(where=("accuracy@fog/5<0.4", "accuracy@contrast/5>=0.1")), [1, 3]),
        (RowFilter(where=("accuracy@*_noise/5>0.97",)), [1, 2, 3]),
    ],
)
def test_patterns_and_conditions_choose_rows(board: list[RunRecord], rows: RowFilter, places: list[int]) -> None:
    rows.check(board)
    assert rows.places(board) == places


@pytest.mark.parametrize(
    "rows, message",
    [
        (RowFilter(models=("digits/vti",)), "Unknown model 'digits/vti'. Did you mean digits/vit"),
        (RowFilter(methods=("dda-es",)), "Unknown method 'dda-es'. Did you mean dda-se"),
        (RowFilter(where=("acuracy>0.5",)), "Unknown metric 'acuracy'. Did you mean accuracy"),
        (RowFilter(where=("accuracy@fgo/5>0.5",)), "Unknown condition 'fgo/5' of accuracy. Did you mean fog/5"),
        (RowFilter(where=("accuracy=0.5",)), "with >, >=, < or <="),
        (RowFilter(where=("accuracy>nan",)), "with >, >=, < or <="),
        (RowFilter(where=("mean_accuracy>86",)), "Write mean_accuracy>0.86 or mean_accuracy>86%"),
    ],
)
def test_a_filter_that_fits_nothing_names_near_matches(board: list[RunRecord], rows: RowFilter, message: str) -> None:
    with pytest.raises(HarnessError) as error:
        rows.check(board)
        rows.places(board)
    assert message in str(error.value)


def test_columns_come_in_the_order_of_their_patterns(board: list[RunRecord]) -> None:
    assert columns(board, ["mce", "mean_*"]) == [("mce", "mean"), ("mean_accuracy", "mean"), ("mean_error", "mean")]
    assert columns(board, ["accuracy@fo*"]) == [("accuracy", "fog/5")]
    assert len(columns(board, ["accuracy"])) == 15, "no column of the board has this name: all conditions count"
    check_columns(board, ["mce", CALLS])
    with pytest.raises(HarnessError, match="Did you mean mce"):
        check_columns(board, ["mec"])
    table = leaderboard.ranking(board, None, ["mce", CALLS])
    assert table.header[3:] == ["mce (% of reference)", "denoiser calls"]


def test_a_filter_changes_no_rank_set(board: list[RunRecord], monkeypatch: pytest.MonkeyPatch) -> None:
    sets = Ranks(("mean_accuracy", "mean"), [(1, 2), (1, 3), (2, 4), (3, 4)])
    monkeypatch.setattr(leaderboard, "board_ranks", lambda entries: sets if len(entries) == 4 else Ranks(("", "")))
    whole, some = leaderboard.ranking(board), leaderboard.ranking(board, [1, 3])
    assert [row[0] for row in some.rows] == [whole.rows[1][0], whole.rows[3][0]] == ["1-3 ●", "3-4"]
    assert some.top == [0] and [row["rank_worst"] for row in some.data] == [3, 4]
    shown = leaderboard.by_condition(board, "mean_accuracy", [1, 3])
    assert [row[:3] for row in shown.rows] == [row[:3] for row in some.rows] and shown.top == [0]
