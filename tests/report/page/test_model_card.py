"""A model's card: its numbers are those of the records, its ranks those of the whole boards."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from helpers import ROOT

from harness.evaluation.records.record import RunRecord
from harness.metrics.paired import holm
from harness.report import comparison
from harness.report.boards import boards, readable
from harness.report.names import spell
from harness.report.page.card import partners as partners_module
from harness.report.page.card.partners import partners
from harness.report.page.card.results import OwnRows, weakness_section
from harness.report.page.card.training import training_card
from harness.report.page.markdown import as_markdown
from harness.report.page.model_card import model_page
from harness.report.page.parts import BoardTable, Page, Section
from harness.report.page.render import render
from harness.report.ranks.board_ranks import Ranks, board_ranks
from harness.types import HarnessError, Metric

NAME = "digits/vit+diffaug"
RESULTS = ROOT / "results"


@pytest.fixture(scope="module")
def records() -> list[RunRecord]:
    """The shipped records of clean accuracy."""
    return list(readable(sorted((RESULTS / "digits").glob("*.json"))))


@pytest.fixture(scope="module")
def page(records: list[RunRecord]) -> Page:
    return model_page(records, RESULTS, NAME)


def sections(page: Page) -> dict[str, Section]:
    return {section.id: section for group in page.sections.values() for section in group}


def texts(table: BoardTable) -> list[list[str]]:
    return [[cell.text for cell in row.cells] for row in table.rows]


def test_the_facts_are_those_of_the_record_and_of_the_training(page: Page) -> None:
    facts = dict(texts(sections(page)["about"].tables[0]))
    card = training_card(own_record())
    assert facts["training seed"] == "0"
    assert facts["parameters"] == f"{card['parameters']:,}"
    assert facts["SHA-256 of the weights"] == card["sha256"]
    assert card["command"] in page.lead[0]
    # Its interval may be made by another method than those of the leaderboards.
    assert (
        facts["clean accuracy by the training's own card"] == f"{100 * card['clean_accuracy']['value']:.1f} %, n = 600"
    )


def own_record() -> RunRecord:
    (entry,) = readable(sorted((RESULTS / "digits").glob("digits.vit+diffaug--default--*.json")))
    return entry


def test_every_result_has_its_interval_and_its_rank_among_all_rows(page: Page, records: list[RunRecord]) -> None:
    (board,) = boards(records).values()
    ranks = board_ranks(board)
    table = sections(page)["results-digits"].tables[0]
    own = [(place, entry) for place, entry in enumerate(board) if entry.model.name == NAME]
    expected = [
        [entry.method, ranks.spell(place).replace("-", "–") or "–", spell(entry.metric("accuracy", "clean"))]
        for place, entry in own
    ]
    assert [row[:3] for row in texts(table)] == expected


def test_ranks_of_a_card_are_over_the_whole_board(records: list[RunRecord]) -> None:
    (board,) = boards(records).values()
    own = OwnRows(board, [0, 2], Ranks(board[0].columns[0], [(1, len(board))] * len(board)))
    assert own.own_ranks.lowest == len(board) > 2
    assert own.own_ranks.undecided


def test_noise_at_diffusion_times_is_no_weakness(records: list[RunRecord]) -> None:
    plain = next(entry for entry in records if entry.method == "default")

    def listed(*conditions: str) -> bool:
        metrics = [Metric("accuracy", name, 0.1, (0.0, 0.2), 600, "fraction", True) for name in conditions]
        entry = replace(plain, metrics=metrics)
        return weakness_section([OwnRows([entry], [0], Ranks(entry.columns[0]))]) is not None

    assert listed("fog/5", "snow/5")
    assert not listed("t=0", "t=700")


def test_the_partner_is_compared_on_the_same_images(page: Page, records: list[RunRecord]) -> None:
    by_name = {(entry.model.name, entry.method): entry for entry in records}
    rows = texts(sections(page)["against-digits-vit"].tables[0])
    methods = [row[1] for row in rows]
    assert sorted(methods) == ["dda", "dda-se", "de", "default"]
    results = [comparison.compare(by_name["digits/vit", m], by_name[NAME, m]).mean for m in methods]
    assert [row[3].split(" ")[0] for row in rows] == [f"{100 * result.difference:+.2f}" for result in results]
    conditions = [comparison.compare(by_name["digits/vit", m], by_name[NAME, m]).per_condition for m in methods]
    adjusted = holm([result["clean"].p for result in conditions])
    assert [row[4] for row in rows] == [comparison.spell_p(p) for p in adjusted]


def test_p_values_are_adjusted_over_all_partners(records: list[RunRecord], monkeypatch: pytest.MonkeyPatch) -> None:
    row = {"condition": "mean", "difference": 0.02, "low": 0.01, "high": 0.03, "p": 0.01}
    monkeypatch.setattr(partners_module, "_differences", lambda a, b: [row])
    rows = [OwnRows.of(board, NAME) for board in boards(records).values()]
    found = partners_module.partner_sections(NAME, ["digits/vit", "digits/resnet"], rows)
    shown = [row.cells[4].value for section in found for row in section.tables[0].rows]
    tests = len(shown)
    assert tests == 8 and shown == holm([0.01] * tests) and shown != holm([0.01] * 4) * 2
    assert all(f"the {tests} tests" in section.tables[0].caption for section in found)


def test_partners_differ_by_diffaug_alone() -> None:
    names = ["a", "a+diffaug", "a+augmix", "a+augmix+diffaug", "b+diffaug"]
    assert partners("a", names) == ["a+diffaug"]
    assert partners("a+augmix+diffaug", names) == ["a+augmix"]
    assert partners("b+diffaug", names) == []


def test_a_card_of_other_weights_is_not_shown(page: Page) -> None:
    entry = own_record()
    assert training_card(replace(entry, model=replace(entry.model, sha256="0" * 64))) == {}
    assert training_card(replace(entry, model=replace(entry.model, name="/"))) == {}


def test_a_classifier_without_a_card_says_what_is_unknown(records: list[RunRecord]) -> None:
    other = replace(records[0], model=replace(records[0].model, name="mine.pt", sha256="0" * 64), path=records[0].path)
    page = model_page([other, *records[1:]], RESULTS, "mine.pt")
    assert "No card of its training" in sections(page)["about"].notes[0]


def test_commands_repeat_the_training_and_every_record(page: Page, records: list[RunRecord]) -> None:
    commands = [row[-1] for row in texts(sections(page)["reproduce"].folded[0])]
    assert f"harness rerun {NAME}" in commands
    for entry in records:
        if entry.model.name == NAME:
            assert entry.path and f"harness rerun results/digits/{entry.path.name}" in commands


def test_an_unknown_classifier_is_answered_with_near_names(records: list[RunRecord]) -> None:
    with pytest.raises(HarnessError, match=r"Unknown classifier 'digits/vti'.*digits/vit"):
        model_page(records, RESULTS, "digits/vti")


def test_names_from_records_are_text_on_the_card(records: list[RunRecord], tmp_path: Path) -> None:
    name = "<script>alert(1)</script>"
    hostile = replace(records[0], model=replace(records[0].model, name=name, details={name: name}), notes=[name])
    page = model_page([hostile], tmp_path, name)
    assert name not in render(page)
    assert name not in as_markdown(page)


def test_the_markdown_has_the_results_and_no_picture(page: Page) -> None:
    text = as_markdown(page)
    assert text.startswith(f"# {NAME}\n")
    for section in ("What it is", "Against digits/vit", "How to reproduce"):
        assert f"## {section}" in text
    assert "data:image" not in text and "What classifiers see" not in text
