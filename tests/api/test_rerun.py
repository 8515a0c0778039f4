"""Repeating records and trainings."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import harness

from harness import plugins
from harness.api.rerun.origins import check_loaded
from harness.api.rerun.verdict import DIFFERS, IDENTICAL, ROUNDED, Differences, compare_metrics, compare_rows
from harness.evaluation import loop
from harness.evaluation.prepare import prepare
from harness.evaluation.records import record as records
from harness.models.published.locate import WeightFiles
from harness.train import run as training
from harness.train.spec import TrainSpec
from harness.types import HarnessError, Metric, RunSpec
from harness.types.weights import LIVE

TINY = """
from dataclasses import dataclass
from torch import nn
from harness.plugins import architecture, method

@architecture("{name}")
def tiny(num_classes):
    return nn.Sequential(nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(48, num_classes))

@method("{name}")
@dataclass(frozen=True)
class Plain:
    def __call__(self, views, classifier):
        return classifier(views.original()).softmax(-1)
"""
"""A plugin file with an architecture and a method."""


@pytest.fixture
def trained(tmp_path: Path) -> Path:
    """The folder of a training of two steps."""
    file = tmp_path / "tiny.py"
    file.write_text(TINY.format(name="tiny"))
    plugins.discover(file)
    training.run(TrainSpec("tiny", max_steps=2, limit=64), tmp_path / "net")
    return tmp_path / "net"


def evaluated(trained: Path, out: Path, **settings: Any) -> Path:
    """The record of the tiny network on digits."""
    spec = RunSpec("digits", (str(trained),), settings.pop("methods", ("default",)), **settings)
    return loop.run(prepare(spec, out, weight_files=WeightFiles()))[0]


def test_a_record_is_repeated_to_the_bit_in_whole_and_in_part(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    record = evaluated(trained, tmp_path / "results")
    code, text = harness(monkeypatch, capsys, "rerun", str(record))
    assert code == 0 and "identical. All rows, all metrics and the key compared." in text
    code, text = harness(monkeypatch, capsys, "rerun", str(record), "--every", "7", "--limit", "9")
    assert code == 0 and "identical. 9 of 600 rows compared." in text
    assert len(list((tmp_path / "results").rglob("*.json"))) == 1


def test_a_part_of_a_subset_stays_within_it(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    record = evaluated(trained, tmp_path / "results", every=2, limit=25)
    code, text = harness(monkeypatch, capsys, "rerun", str(record), "--every", "3")
    assert code == 0 and "9 of 25 rows compared" in text


def test_other_weights_are_a_difference_that_needs_no_computation(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    record = evaluated(trained, tmp_path / "results", limit=5)
    training.run(TrainSpec("tiny", max_steps=3, limit=64), trained, fresh=True)
    code, text = harness(monkeypatch, capsys, "rerun", str(record))
    assert code == 1 and "differs. Nothing was computed" in text and "model had SHA-256" in text


def test_a_missing_plugin_file_is_named_with_its_hash(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    record = evaluated(trained, tmp_path / "results", limit=5, methods=("tiny",))
    sha256 = json.loads(record.read_text())["plugins"][plugins.method.kind].split()[-1]
    code, text = harness(monkeypatch, capsys, "rerun", str(record))
    assert code == 0 and "identical" in text
    del plugins.method._entries["tiny"], plugins.architecture._entries["tiny"]
    code, text = harness(monkeypatch, capsys, "rerun", str(record))
    assert code == 2 and f"comes from tiny.py (SHA-256 {sha256[:12]}...)" in text and "--plugin tiny.py" in text


def test_a_training_is_repeated_to_the_bit(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, text = harness(monkeypatch, capsys, "rerun", str(trained))
    assert code == 0 and "identical. The weights have the same SHA-256" in text
    card = trained / "card.json"
    values = json.loads(card.read_text())
    changed = {**values, "sha256": "0" * 64, "made_with": {**values["made_with"], "torch": "1.0"}}
    card.write_text(json.dumps(changed))
    code, text = harness(monkeypatch, capsys, "rerun", str(card))
    assert code == 0 and "agrees in quality" in text and "torch was 1.0" in text
    changed["clean_accuracy"] = {"value": 0.99, "interval": [0.98, 1.0], "n": 600}
    card.write_text(json.dumps(changed))
    code, text = harness(monkeypatch, capsys, "rerun", str(card))
    assert code == 1 and "differs. The weights have another SHA-256. Clean accuracy was 0.9900" in text


def test_what_was_a_live_object_cannot_be_repeated(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(HarnessError, match="its method was a live object mine, which has no file"):
        check_loaded("x.json", {"method": f"live object mine {'0' * 64}"})
    path = evaluated(trained, tmp_path / "results", limit=5)
    live = records.load(path)
    records.save(replace(live, model=replace(live.model, source=LIVE)), path)
    code, text = harness(monkeypatch, capsys, "rerun", str(path))
    assert code == 2 and "was a live object, whose weights have no file" in text


def test_what_is_neither_record_nor_card_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "x.json").write_text("{}")
    for target, message in (
        (str(tmp_path / "x.json"), "neither a run record nor a checkpoint's card"),
        (str(tmp_path / "y.json"), "No such file"),
        ("digits/resnt", "Did you mean digits/resnet"),
    ):
        code, text = harness(monkeypatch, capsys, "rerun", target)
        assert code == 2 and message in text


def test_rounding_is_told_from_difference() -> None:
    def table(probability: float, prediction: int) -> dict[str, Any]:
        columns = {"id": ["a"], "condition": ["c"], "prediction": [prediction], "probability": [probability]}
        return {name: np.array(values) for name, values in columns.items()}

    for now, outcome, reason in (
        (table(0.5, 1), IDENTICAL, "compared"),
        (table(0.5 + 1e-6, 1), ROUNDED, "Largest difference: 1e-06, in the column 'probability'"),
        (table(0.6, 1), DIFFERS, "the column 'probability' by 0.1"),
        (table(0.5, 2), DIFFERS, "'prediction' in 1 of 1 rows, such as a under c"),
    ):
        findings = Differences("All rows compared.", [])
        compare_rows(findings, table(0.5, 1), now)
        verdict = findings.verdict([])
        assert verdict.outcome == outcome and reason in " ".join(verdict.reasons)


def test_what_is_no_number_in_both_is_no_difference() -> None:
    def outcome(then: list[float], now: list[float]) -> str:
        findings = Differences("All rows compared.", [])
        findings.numbers("the column 'score'", np.array(then), np.array(now))
        return findings.verdict([]).outcome

    inf, nan = float("inf"), float("nan")
    assert outcome([nan, inf, -inf, 1.0], [nan, inf, -inf, 1.0]) == IDENTICAL
    assert outcome([nan, inf, 1.0], [nan, inf, 1.0 + 1e-6]) == ROUNDED
    for then, now in ((nan, 1.0), (1.0, nan), (inf, -inf), (inf, 1.0), (1.0, inf), (nan, inf)):
        assert outcome([then], [now]) == DIFFERS


def test_metrics_agree_in_value_interval_and_number_of_images() -> None:
    metric = Metric("accuracy", "all", 0.5, (0.4, 0.6), 100, "fraction", True)
    for now, difference in (
        ([metric], ""),
        ([replace(metric, value=0.55)], "accuracy of all by 0.05"),
        ([replace(metric, interval=(0.4, 0.61))], "the interval of accuracy of all by 0.01"),
        ([replace(metric, n=99)], "the number of images of accuracy of all, 100 then, 99 now"),
        ([], "accuracy of all is no longer measured"),
        ([metric, replace(metric, name="error")], "error of all was not measured then"),
    ):
        findings = Differences("All metrics compared.", [])
        compare_metrics(findings, [metric], now)
        assert findings.differences == ([difference] if difference else [])


def test_damaged_cards_are_refused_by_file_and_field(
    trained: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    card = trained / "card.json"
    values = json.loads(card.read_text())
    for change, message in (
        ({"made_with": {}}, "made_with has no field 'threads'"),
        ({"made_with": {"threads": 10**9}}, "made_with.threads is 1000000000, not from 1 to 1024"),
        ({"data": "x"}, "data is 'x', not an object"),
        ({"plugins": "x"}, "plugins is 'x', not an object"),
        ({"plugins": {"method": 3}}, "plugins['method'] is 3, not a text"),
        ({"sha256": None}, "sha256 is None, not a text"),
        ({"spec": []}, "spec is a list of 0, not an object"),
        ({"spec": {**values["spec"], "dataset": {}}}, "dataset is an object, not a text"),
        ({"clean_accuracy": 3}, "clean_accuracy is 3, not an object"),
    ):
        card.write_text(json.dumps({**values, **change}))
        code, text = harness(monkeypatch, capsys, "rerun", str(card))
        assert code == 2 and message in text and "card.json is no card of a training" in text, text
