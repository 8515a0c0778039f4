"""Metadata of model cards, read back by the hub's own library."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import huggingface_hub
import pytest
import yaml
from exchange.forging import shipped
from helpers import harness

from harness.evaluation.records import record
from harness.exchange.export import export
from harness.types import HarnessError


def test_the_model_index_holds_every_column_with_its_interval(tmp_path: Path) -> None:
    entries = [record.load(shipped("digits-c", f"digits.vit--{method}")) for method in ("default", "de")]
    (path,) = export("model-index", entries, tmp_path, "", "digits/vit")
    results = huggingface_hub.ModelCard.load(path).data.eval_results
    assert results and len(results) == sum(len(entry.columns) for entry in entries)
    first = entries[0].metric(*entries[0].columns[0])
    assert first and results[0].metric_value == first.value and "95 % interval" in results[0].metric_name


def test_evaluation_results_are_those_of_the_hubs_library(tmp_path: Path) -> None:
    entries = [record.load(shipped("digits-c", f"digits.vit--{method}")) for method in ("default", "de")]
    paths = export("hf-eval-results", entries, tmp_path, "org/benchmark", "digits/vit")
    assert len(paths) == 2 and all(path.parent.name == ".eval_results" for path in paths)
    (result,) = huggingface_hub.parse_eval_result_entries(yaml.safe_load(paths[1].read_text()))
    metric = entries[1].metric(*entries[1].columns[0])
    assert metric and (result.dataset_id, result.task_id, result.value) == ("org/benchmark", "digits-c", metric.value)
    with pytest.raises(HarnessError, match="--dataset ORG/NAME"):
        export("hf-eval-results", entries, tmp_path, "", "digits/vit")
    with pytest.raises(HarnessError, match="Unknown form"):
        export("paper", entries, tmp_path, "", "digits/vit")


def test_the_command_writes_the_files_of_one_classifier(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = shipped("digits", "digits.vit--de").parent
    arguments = ("--to", "model-index", "--results", str(folder), "--out", str(tmp_path / "card"))
    code, printed = harness(monkeypatch, capsys, "results", "export", "--model", "digits/vit", *arguments)
    assert code == 0 and "README.md" in printed and "digits v1" in (tmp_path / "card" / "README.md").read_text()
    code, printed = harness(monkeypatch, capsys, "results", "export", "--model", "digits/vat", *arguments)
    assert code == 2 and "Did you mean" in printed


def test_a_model_card_that_is_there_keeps_its_words_and_metadata(tmp_path: Path) -> None:
    """A second export replaces its own results, and leaves those of others."""
    card = tmp_path / "README.md"
    other = "- task: {type: x}\n    dataset: {type: y, name: z}\n    metrics: [{type: accuracy, value: 0.5}]"
    card.write_text(
        f"---\nlicense: mit\ntags:\n- mine\nmodel-index:\n- name: me\n  results:\n  {other}\n---\n\n# My words\n"
    )
    entries = [record.load(shipped("digits-c", f"digits.vit--{method}")) for method in ("default", "de")]
    columns = sum(len(entry.columns) for entry in entries)
    for _ in range(2):
        export("model-index", entries, tmp_path, "", "digits/vit")
        loaded = huggingface_hub.ModelCard.load(card)
        assert "# My words" in loaded.text and loaded.data.license == "mit" and loaded.data.tags == ["mine"]
        results = loaded.data.eval_results
        assert results and len(results) == columns + 1 and results[0].metric_value == 0.5
        assert yaml.safe_load(card.read_text().split("---")[1])["model-index"][0]["name"] == "me"
    card.write_text("---\n[: no yaml\n---\nwords")
    with pytest.raises(HarnessError, match="its metadata cannot be read"):
        export("model-index", entries, tmp_path, "", "digits/vit")
    assert card.read_text().endswith("words")
    card.write_text("# Words without metadata\n")
    export("model-index", entries, tmp_path, "", "digits/vit")
    assert "# Words without metadata" in card.read_text()


@pytest.mark.parametrize("form", ["model-index", "hf-eval-results"])
def test_a_part_of_the_test_set_is_not_exported_as_the_benchmark(form: str, tmp_path: Path) -> None:
    entry = record.load(shipped("digits", "digits.vit--de"))
    part = replace(entry, status="partial", coverage="100 of 600 images (every 6th)")
    with pytest.raises(HarnessError, match=r"digits/vit:de on digits: 100 of 600 images.*--allow-partial"):
        export(form, [entry, part], tmp_path, "org/benchmark", "digits/vit")
    assert not list(tmp_path.rglob("*.*"))
    assert export(form, [part], tmp_path, "org/benchmark", "digits/vit", partial_too=True)
