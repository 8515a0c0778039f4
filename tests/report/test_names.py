"""Classifiers with settings are named shortly in tables, and found by these names."""

from __future__ import annotations

from dataclasses import replace

import pytest
from helpers import ROOT

from harness import plugins
from harness.evaluation.records import record
from harness.evaluation.records.record import RunRecord
from harness.models.lookup import card
from harness.report import leaderboard, names, selection
from harness.types import HarnessError, Weights

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


def test_rows_of_two_registered_denoisers_are_told_apart_by_their_names() -> None:
    files = sorted((ROOT / "results" / "guidance").glob("none--none--*.json"))
    rows = [record.load(file) for file in files]
    assert set(names.variants(rows)) == {"none [denoiser digits]", "none [denoiser digits-conditional]"}
    with pytest.raises(HarnessError, match=r"means 2 records(?s:.*)\[denoiser digits\]"):
        selection.select_two("none:none", "none:cfg", [*rows, replace(rows[0], method="cfg")])


def test_the_weights_of_an_unregistered_denoiser_go_by_their_hash(shipped: RunRecord) -> None:
    weights = [Weights("mine", digit * 64, "mine.safetensors") for digit in "ab"]
    rows = [replace(shipped, denoiser=each) for each in weights]
    assert names.variants(rows) == [f"{shipped.variant} [denoiser {digit * 8}]" for digit in "ab"]


def test_names_of_denoisers_are_those_of_the_registry() -> None:
    plugins.discover_package("harness.registry.denoisers")
    for digest, name in names.denoiser_names().items():
        facts = plugins.denoiser[name].facts
        if "checkpoint" in facts:
            assert card(facts["checkpoint"])["sha256"] == digest
        else:
            assert facts["published"].files[0].sha256 == digest
    assert {"digits", "digits-conditional", "adm256"} <= set(names.denoiser_names().values())
