"""Records edited by hand, by somebody who also computes every hash again: each edit is caught, and named."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from exchange.forging import Change, Forgery, shipped
from helpers import harness

from harness import plugins
from harness.exchange.inputs import DataAtHand
from harness.exchange.verify import DIFFERS, OK, UNCHECKED, Verification, examine
from harness.report import boards
from harness.report.leaderboard import page


@pytest.fixture(scope="module")
def inputs() -> DataAtHand:
    """The embedded data sets, opened once."""
    plugins.discover()
    return DataAtHand()


def value(*path: str | int, to: Any) -> Change:
    """A change of a value in the record's JSON."""

    def change(forgery: Forgery) -> None:
        values: Any = forgery.values
        for step in path[:-1]:
            values = values[step]
        values[path[-1]] = to

    return change


def cell(name: str, row: int, to: Any) -> Change:
    """A change of a cell of the table."""
    return lambda forgery: forgery.set_cell(name, row, to)


def missing_row(forgery: Forgery) -> None:
    forgery.table = forgery.table.slice(1)
    forgery.values |= {"status": "partial", "coverage": "599 of 600 images"}


def doubled_row(forgery: Forgery) -> None:
    forgery.table = pa.concat_tables([forgery.table, forgery.table.slice(0, 1)])


def renamed_model(forgery: Forgery) -> None:
    forgery.values["model"]["name"] = "digits/resnet"
    forgery.values["spec"]["models"] = ["digits/resnet"]


def renamed_method(forgery: Forgery) -> None:
    forgery.values["method"] = "de"
    forgery.values["spec"]["methods"] = ["de"]


def foreign_table(forgery: Forgery) -> None:
    forgery.table = Forgery.of(shipped("openood-digits", "digits.vit--msp")).table


def swapped_table(forgery: Forgery) -> None:
    forgery.table = Forgery.of(shipped("digits", "digits.resnet--default")).table


def renamed_condition(forgery: Forgery) -> None:
    for row in range(forgery.table.num_rows):
        if row < 5:
            forgery.set_cell("condition", row, "sunny")


def deleted_metric(forgery: Forgery) -> None:
    forgery.values["metrics"] = [m for m in forgery.values["metrics"] if m["name"] != "accuracy"]


def probability_of_the_true_class(forgery: Forgery) -> None:
    """A column as newer versions write it, with one image whose two probabilities contradict each other."""
    table = forgery.table
    confidence = table["confidence"].to_numpy()
    right = table["prediction"].to_numpy() == table["label"].to_numpy()
    probability = np.where(right, confidence, np.minimum(confidence, 1 - confidence) / 2)
    probability[np.flatnonzero(right)[0]] -= 0.1
    forgery.table = table.append_column("probability", pa.array(probability))


def extra_metric(forgery: Forgery) -> None:
    forgery.values["metrics"].append({**forgery.values["metrics"][0], "name": "robustness"})


def half_of_the_images(forgery: Forgery) -> None:
    forgery.table = forgery.table.slice(0, 300)
    forgery.values["coverage"] = "300 of 300 images"


def shuffled_rows(forgery: Forgery) -> None:
    forgery.table = forgery.table.take(pa.array(np.random.default_rng(0).permutation(forgery.table.num_rows)))


def another_name(name: str) -> Change:
    def change(forgery: Forgery) -> None:
        forgery.values["model"]["name"] = name
        forgery.values["spec"]["models"] = [name]

    return change


def another_method(name: str) -> Change:
    def change(forgery: Forgery) -> None:
        forgery.values["method"] = name
        forgery.values["spec"]["methods"] = [name]

    return change


def column(name: str, kind: pa.DataType, cell: Any) -> Change:
    """A further column of the table, the same in every row."""

    def change(forgery: Forgery) -> None:
        forgery.table = forgery.table.append_column(name, pa.array([cell] * forgery.table.num_rows, kind))
        forgery.values["spec"]["keep_logits"] = name == "logits"

    return change


PLUGIN = "mine.py " + "0" * 64

FORGERIES: dict[str, tuple[Change, str]] = {
    "a flipped prediction": (cell("prediction", 0, 9), "accuracy of clean is"),
    "another value": (value("metrics", 0, "value", to=0.97), "accuracy of clean is 0.97 in the record"),
    "another interval": (value("metrics", 0, "interval", to=[0.0, 1.0]), "end of the interval of accuracy of clean"),
    "another n": (value("metrics", 0, "n", to=300), "n of accuracy of clean is 300"),
    "another direction": (value("metrics", 0, "higher_is_better", to=False), "higher_is_better of accuracy of clean"),
    "a deleted metric": (deleted_metric, "the record lacks accuracy of clean"),
    "an extra metric": (extra_metric, "the record has robustness of clean"),
    "a missing row": (missing_row, "it lacks 'digits-"),
    "a doubled row": (doubled_row, "under 'clean' more than once"),
    "half of the images called all": (half_of_the_images, "there are 600 images"),
    "a renamed model": (renamed_model, "that of the bundled digits-vit, and is called"),
    "a model renamed in one place": (value("model", "name", to="digits/resnet"), "it was run with the model"),
    "a renamed method": (renamed_method, "denoiser calls per image"),
    "a table of another suite": (foreign_table, "which digits does not have"),
    "the table of another record": (swapped_table, "accuracy of clean is"),
    "another label": (cell("label", 0, 3), "have other labels than in the data"),
    "a label that is no class": (cell("label", 0, 12), "column 'label' has classes beyond"),
    "another id": (cell("id", 0, "digits-9999"), "are not among the 600 images"),
    "another condition": (renamed_condition, "it has rows under 'sunny'"),
    "another coverage": (value("coverage", to="600 of 700 images"), "coverage"),
    "other weights": (value("model", "sha256", to="1" * 64), "has SHA-256 111111111111, the bundled one"),
    "another version": (value("suite_version", to=2), "has version 2, and the one here version 1"),
    "other columns": (value("columns", to=[["ece", "clean"]]), "its columns are"),
    "other data": (value("data_sha256", to="0" * 64), "its data have SHA-256 000000000000"),
    "a negative confidence": (cell("confidence", 0, -0.5), "column 'confidence' has numbers that are no prob"),
    "a confidence below chance": (cell("confidence", 0, 0.01), "is below 1/10"),
    "a confidence unlike the probability": (probability_of_the_true_class, "with another confidence than the true"),
    "another cost": (value("cost", "method_calls_per_image", to=9), "9 denoiser calls per image by the record"),
    "weights of the project under another name": (another_name("sota/net"), "that of the bundled digits-vit, and is"),
    "other details": (value("model", "details", to={"architecture": "vit-22B"}), "the details of its model"),
    "arguments that are a list": (value("model", "details", "arguments", to=[1]), "the details of its model"),
    "billions of classes": (value("model", "details", "arguments", "num_classes", to=5 * 10**9), "5000000000 classes"),
    "another source": (value("model", "source", to="http://x/y.bin"), "the source of its model is"),
    "images of a billion pixels": (value("geometry", "crop", to=50_000), "geometry.crop is 50000, not from 1 to 4096"),
    "settings that the method refuses": (another_method("dda:foo=bar"), "Unknown setting 'foo'"),
    "a plugin without a name": (value("plugins", to={"": ""}), "its plugins name '' as a ''"),
    "a plugin of no kind": (value("plugins", to={"magic": PLUGIN}), "as a 'magic', which no run writes"),
    "a method's plugin that is not here": (value("plugins", to={"test-time method": PLUGIN}), "--plugin mine.py"),
    "logits that were not kept": (value("spec", "keep_logits", to=True), "it has no logits, and its run kept them"),
    "logits of other classes": (column("logits", pa.list_(pa.float32(), 3), [0.0] * 3), "its logits are of shape (3,)"),
    "a column of no suite": (column("<script>", pa.string(), "=1+1"), "the columns '<script>', which digits does not"),
    "a time to come": (value("created", to="9999-12-31"), "created in the future"),
    "shuffled rows": (shuffled_rows, "in another order than a run writes them"),
    "a suite that nobody has": (value("suite", to="mine"), "its suite|cannot be recomputed without --plugin|run with"),
}
"""By name, the change, and words of a difference that names it."""


def sentences(verdict: Verification) -> str:
    return " | ".join([*map(str, verdict.differences), *verdict.reasons])


@pytest.mark.parametrize("name", FORGERIES)
def test_a_consistent_edit_is_caught_and_named(name: str, inputs: DataAtHand, tmp_path: Path) -> None:
    change, words = FORGERIES[name]
    forgery = Forgery.of(shipped("digits", "digits.vit--default"))
    change(forgery)
    file = forgery.write(tmp_path)
    verdict = examine(file, inputs)
    assert verdict.outcome in (DIFFERS, UNCHECKED)
    assert any(part in sentences(verdict) for part in words.split("|")), sentences(verdict)
    beside_a_good_one(tmp_path)


def beside_a_good_one(folder: Path) -> None:
    """The leaderboard of a folder with a forged record shows the good one beside it, which must be read."""
    good = Forgery.of(shipped("digits", "digits.resnet--de")).write(folder / "good")
    entries = boards.find(folder, lambda reason: None)
    assert good in [entry.path for entry in entries]
    assert "| digits/resnet | de |" in page(entries)


@pytest.mark.parametrize("name", ["a flipped prediction", "another value", "a doubled row", "a renamed model"])
def test_an_edit_without_new_hashes_is_caught_by_the_hash(name: str, inputs: DataAtHand, tmp_path: Path) -> None:
    forgery = Forgery.of(shipped("digits", "digits.vit--default"))
    FORGERIES[name][0](forgery)
    verdict = examine(forgery.write(tmp_path, hashed=False), inputs)
    assert verdict.outcome == DIFFERS and "SHA-256" in sentences(verdict), sentences(verdict)
    beside_a_good_one(tmp_path)


DENOISED: dict[str, tuple[Change, str]] = {
    "a renamed denoiser": (value("denoiser", "name", to="my-unet"), "of the bundled digits-unet, and is called"),
    "another denoiser asked for": (value("spec", "denoiser", to="adm:file=x.pt"), "asked for 'adm:file=x.pt'"),
    "another denoiser's weights": (value("denoiser", "sha256", to="2" * 64), "has SHA-256 222222222222"),
    "no calls of the denoiser": (value("cost", "denoiser_calls", to=0), "its own 600 images need 5400"),
}


@pytest.mark.parametrize("name", DENOISED)
def test_an_edit_of_the_denoiser_is_caught_and_named(name: str, inputs: DataAtHand, tmp_path: Path) -> None:
    change, words = DENOISED[name]
    forgery = Forgery.of(shipped("digits", "digits.vit--de"))
    change(forgery)
    verdict = examine(forgery.write(tmp_path), inputs)
    assert verdict.outcome == DIFFERS and words in sentences(verdict), sentences(verdict)


def test_another_order_of_rows_is_no_other_interval(inputs: DataAtHand, tmp_path: Path) -> None:
    forgery = Forgery.of(shipped("digits", "digits.vit--default"))
    shuffled_rows(forgery)
    differences = examine(forgery.write(tmp_path), inputs).differences
    assert [difference.field for difference in differences] == ["id"]


def test_one_pass_names_every_difference(inputs: DataAtHand, tmp_path: Path) -> None:
    forgery = Forgery.of(shipped("digits-c", "digits.vit--de"))
    for change in (cell("label", 0, 3), value("metrics", 2, "value", to=0.5), value("facts", to={"frost": "mine"})):
        change(forgery)
    named = sentences(examine(forgery.write(tmp_path), inputs))
    assert all(words in named for words in ("changes with the condition", "is 0.5 in the record", "its facts are"))


def test_votes_that_give_another_certificate_are_named(inputs: DataAtHand, tmp_path: Path) -> None:
    forgery = Forgery.of(shipped("certify", "digits.resnet+augmix--denoise"))
    forgery.set_cell("radius", 0, 3.9)
    assert "have another radius than their votes give" in sentences(examine(forgery.write(tmp_path), inputs))


def test_a_forgery_that_is_consistent_in_itself_needs_a_rerun(inputs: DataAtHand, tmp_path: Path) -> None:
    """As the documentation says: predictions that no network gave, with metrics that follow from them."""
    forgery = Forgery.of(shipped("digits", "digits.vit--default"))
    wrong = forgery.table["prediction"].to_numpy() != forgery.table["label"].to_numpy()
    row = int(wrong.argmax())
    forgery.set_cell("prediction", row, forgery.table["label"][row].as_py())
    verdict = examine(forgery.write(tmp_path), inputs)
    assert verdict.subject and verdict.outcome == DIFFERS
    again, _ = verdict.subject.suite.summarise(verdict.subject.rows)
    forgery.values["metrics"] = [json.loads(json.dumps(vars(metric))) for metric in again]
    assert examine(forgery.write(tmp_path), inputs).outcome == OK


@pytest.mark.parametrize("text", ["", "[]", '{"schema": 2}', '{"schema": 1}', "\0", "[" * 5000])
def test_files_that_are_no_records_do_not_stop_the_others(text: str, inputs: DataAtHand, tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text(text)
    verdict = examine(tmp_path / "x.json", inputs)
    assert verdict.outcome in (DIFFERS, UNCHECKED) and sentences(verdict)


def test_a_missing_table_is_named(inputs: DataAtHand, tmp_path: Path) -> None:
    file = Forgery.of(shipped("digits", "digits.vit--default")).write(tmp_path)
    file.with_suffix(".parquet").unlink()
    assert "The record's sample table belongs beside it" in sentences(examine(file, inputs))


def test_last_bits_may_differ_between_processors(inputs: DataAtHand, tmp_path: Path) -> None:
    forgery = Forgery.of(shipped("digits", "digits.vit--default"))
    for metric in forgery.values["metrics"]:
        metric["value"] *= 1 + 1e-12
    verdict = examine(forgery.write(tmp_path), inputs)
    assert verdict.outcome == OK, sentences(verdict)


def test_the_command_prints_the_differences_as_text_and_as_json(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    forgery = Forgery.of(shipped("digits", "digits.vit--default"))
    file = forgery.write(tmp_path)
    code, printed = harness(monkeypatch, capsys, "results", "verify", str(tmp_path))
    assert code == 0 and "1 records checked" in printed
    forgery.values["notes"] = ["\x1b]0;title\x07"]
    forgery.values["metrics"][0]["value"] = 0.97
    forgery.write(tmp_path)
    code, printed = harness(monkeypatch, capsys, "results", "verify", str(tmp_path))
    assert code == 1 and "accuracy of clean is 0.97 in the record" in printed and "\x1b" not in printed
    code, printed = harness(monkeypatch, capsys, "results", "verify", "--json", str(file))
    (verdict,) = json.loads(printed[printed.index("[") : printed.rindex("]") + 1])
    assert code == 1 and verdict["outcome"] == "differs" and "metrics" in {d["field"] for d in verdict["differences"]}
    code, printed = harness(monkeypatch, capsys, "results", "verify", str(tmp_path / "nothing"))
    assert code == 2 and "No file or folder" in printed


def test_the_file_name_is_that_of_the_record(inputs: DataAtHand, tmp_path: Path) -> None:
    file = Forgery.of(shipped("digits", "digits.vit--default")).write(tmp_path)
    copy = file.with_name("best.json")
    shutil.copy(file, copy)
    assert "it is the record of digits.vit--default--" in sentences(examine(copy, inputs))
