"""Classifiers with settings are named shortly in tables, and found by these names."""

from __future__ import annotations

from dataclasses import replace

import pytest
from helpers import ROOT

from harness.evaluation.records import record
from harness.evaluation.records.record import RunRecord
from harness.report import leaderboard, names, selection

ONE, OTHER = "my.pt:architecture=timm/resnet18,mean=0.5", "my.pt:architecture=timm/resnet34"


@pytest.fixture(scope="module")
def shipped() -> RunRecord:
    return record.load(sorted((ROOT / "results" / "digits").glob("*.json"))[0])


def named(entry: RunRecord, name: str) -> RunRecord:
    return replace(entry, model=replace(entry.model, name=name))


def test_a_name_loses_its_settings_where_no_other_row_looks_the_same(shipped: RunRecord) -> None:
    assert names.model_names([shipped, named(shipped, ONE)]) == [shipped.model.name, "my.pt"]
    assert names.model_names([named(shipped, ONE), named(shipped, OTHER)]) == [ONE, OTHER]
    assert names.model_names([named(shipped, "a:b.pt")]) == ["a:b.pt"], "a colon in a path starts no settings"


def test_a_leaderboard_says_what_a_short_name_stands_for(shipped: RunRecord) -> None:
    table = leaderboard.ranking([named(shipped, ONE)])
    assert table.rows[0][1] == "my.pt" and f"my.pt is {ONE}." in table.caption
    assert "my.pt" not in leaderboard.ranking([shipped]).caption


@pytest.mark.parametrize("text", ["my.pt:{method}", f"{ONE}:{{method}}"])
def test_a_comparison_takes_the_short_name_and_the_whole(shipped: RunRecord, text: str) -> None:
    mine = named(shipped, ONE)
    assert selection.resolve(text.format(method=mine.method), [shipped, mine]) == [mine]


def test_a_short_name_of_several_models_means_all_of_them(shipped: RunRecord) -> None:
    both = [named(shipped, ONE), named(shipped, OTHER)]
    assert selection.resolve(f"my.pt:{shipped.method}", both) == both
