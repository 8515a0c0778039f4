"""Ensembles, temperature and prediction sets from records that kept logits; effective robustness of shipped ones."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import CHEAP, ROOT, harness, run_small

from harness.evaluation.records import record
from harness.evaluation.records.record import RunRecord
from harness.metrics.confidence.logits import softmax
from harness.report import boards
from harness.report.posthoc import effective, ensemble, recalibration
from harness.types import HarnessError

KEPT: dict[str, Any] = {**CHEAP, "suite": "digits", "limit": 60, "tile": 60, "keep_logits": True}
TWO = ("digits/resnet", "digits/vit")


@pytest.fixture(scope="module")
def members(tmp_path_factory: pytest.TempPathFactory) -> list[RunRecord]:
    return run_small(tmp_path_factory.mktemp("kept"), {**KEPT, "models": TWO})


def test_an_ensemble_is_a_record_of_mean_probabilities_with_its_members_named(
    members: list[RunRecord], tmp_path: Path
) -> None:
    written = ensemble.write(members, tmp_path)
    assert written.path
    assert record.load(written.path) == written
    assert written.model.name == "ensemble(digits/resnet,digits/vit)" and written.method == "default"
    assert [m["key"] for m in written.model.details["members"]] == [m.key for m in members]
    assert written.board == members[0].board and written.key not in {m.key for m in members}
    probabilities = np.mean([softmax(m.rows("logits")["logits"]) for m in members], axis=0)
    rows = written.rows("logits")
    assert (rows["prediction"] == probabilities.argmax(axis=1)).all()
    assert rows["confidence"] == pytest.approx(probabilities.max(axis=1), abs=1e-6)
    accuracy = written.metric("accuracy")
    assert accuracy and accuracy.value == (rows["prediction"] == rows["label"]).mean()
    table = ensemble.table(written, members)
    assert [row["member"] for row in table.data] == ["digits/resnet:default", "digits/vit:default"]
    file = written.path.read_bytes()
    assert ensemble.write(members[::-1], tmp_path / "again").path.read_bytes() == file  # type: ignore[union-attr]


def test_members_must_be_different_with_logits_and_of_one_board(members: list[RunRecord], tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match="two or more different records"):
        ensemble.write([members[0], members[0]], tmp_path)
    without = replace(members[1], spec=replace(members[1].spec, keep_logits=False))
    with pytest.raises(HarnessError, match="digits/vit:default on digits kept no logits"):
        ensemble.write([members[0], without], tmp_path)
    with pytest.raises(HarnessError, match="different leaderboards"):
        ensemble.write([members[0], replace(members[1], data_sha256="0" * 64)], tmp_path)


def test_halves_are_the_same_for_every_record_and_disjoint(members: list[RunRecord]) -> None:
    first, second = map(recalibration.halves, members)
    assert (first.fitting == second.fitting).all() and 15 < first.fitting.sum() < 45
    tables = recalibration.temperature_table(members[0], first), recalibration.conformal_table(members[0], first)
    assert {row["n"] for table in tables for row in table.data} == {60 - first.fitting.sum()}
    assert [row[0] for row in tables[0].rows] == ["NLL (nats)", "ECE (%)", "Brier score"]


def test_the_commands_take_names_and_say_what_to_do_without_logits(
    members: list[RunRecord], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert members[0].path
    folder, out = str(members[0].path.parent.parent), str(tmp_path)
    names = [f"{name}:default" for name in TWO]
    code, text = harness(monkeypatch, capsys, "ensemble", *names, "--results", folder, "--out", out)
    assert code == 0 and "Wrote" in text
    code, text = harness(monkeypatch, capsys, "posthoc", names[0], "--results", folder)
    assert code == 0 and "Prediction sets of digits/resnet:default" in text
    code, text = harness(monkeypatch, capsys, "posthoc", names[0], "--suite", "digits", "--results", "results")
    assert code == 2 and "--keep-logits" in text


def test_effective_robustness_pairs_rows_of_both_suites_by_image() -> None:
    entries = [r for r in boards.find(ROOT / "results") if r.suite in ("digits", "digits-c") and r.method == "default"]
    sides = [[r for r in entries if r.suite == suite and "vit" not in r.model.name] for suite in ("digits", "digits-c")]
    points = effective.scatter(*sides)
    assert points.paired and points.images == (600, 600) and len(points.names) == 8 and points.result.baseline.all()
    accuracy = sides[1][0].metric("mean_accuracy")
    place = points.names.index(f"{sides[1][0].model.name}:default")
    assert accuracy and points.result.shifted[place] == pytest.approx((accuracy.value * 600 + 0.5) / 601)
    table = effective.table(points)
    assert [row["row"] for row in table.data] == sorted(points.names)
    assert "the 8 rows under 'default'" in table.caption and len(table.data) == 8
    with pytest.raises(HarnessError, match="share no classifier"):
        effective.scatter(sides[0], [])
