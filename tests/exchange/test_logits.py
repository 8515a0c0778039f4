"""Records with logits, and ensembles of them: what a run leaves verifies, and what contradicts itself is named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from exchange.forging import Forgery
from helpers import CHEAP, run_small

from harness import plugins
from harness.evaluation.records.record import RunRecord
from harness.exchange.folders import files_of
from harness.exchange.inputs import DataAtHand
from harness.exchange.merge import CONFLICT, COPIED, IDENTICAL, merge
from harness.exchange.verify import DIFFERS, OK, examine, verify
from harness.report.posthoc import ensemble
from harness.types import HarnessError

KEPT: dict[str, Any] = {**CHEAP, "suite": "digits", "limit": 20, "tile": 20, "keep_logits": True}


@pytest.fixture(scope="module")
def inputs() -> DataAtHand:
    """The embedded data sets, opened once."""
    plugins.discover()
    return DataAtHand()


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> list[RunRecord]:
    """Two classifiers under `default` and `de`, with logits."""
    methods = {"methods": ("default", "de"), "denoiser": "digits", "models": ("digits/resnet", "digits/vit")}
    return run_small(tmp_path_factory.mktemp("kept"), {**KEPT, **methods})


@pytest.mark.parametrize("methods", [("de", "de"), ("default", "de"), ("default", "default")])
def test_an_ensemble_verifies_and_can_be_merged(
    methods: tuple[str, str], kept: list[RunRecord], inputs: DataAtHand, tmp_path: Path
) -> None:
    names = ("digits/resnet", "digits/vit")
    pairs = list(zip(names, methods, strict=True))
    written = ensemble.write([e for e in kept if (e.model.name, e.method) in pairs], tmp_path / "made")
    assert written.path and written.cost.method_calls_per_image == 9 * methods.count("de")
    verdict = examine(written.path, inputs)
    assert verdict.outcome == OK, [*map(str, verdict.differences), *verdict.reasons]
    (outcome,) = merge(verify(files_of([tmp_path / "made"]), inputs), tmp_path / "ours")
    assert outcome.outcome == COPIED
    with pytest.raises(HarnessError, match="is itself an ensemble"):
        ensemble.write([written, kept[0]], tmp_path / "nested")


def test_members_of_an_ensemble_decide_its_method_hash_and_calls(
    kept: list[RunRecord], inputs: DataAtHand, tmp_path: Path
) -> None:
    written = ensemble.write([entry for entry in kept if entry.method == "de"], tmp_path)
    assert written.path
    for change, words in (
        ({"method": "default"}, "its method is 'de', that of its members 'mixed'"),
        ({"sha256": "0" * 64}, "its model has another SHA-256 than its members give"),
        ({"method": 3}, "its members name no methods"),
    ):
        forgery = Forgery.of(written.path)
        forgery.values["model"]["details"]["members"][0] |= change
        verdict = examine(forgery.write(tmp_path / "forged"), inputs)
        assert verdict.outcome == DIFFERS and words in " ".join(map(str, verdict.differences))


def other_logits(forgery: Forgery, change: Any) -> None:
    values = np.array(forgery.table["logits"].to_pylist(), dtype=np.float16)
    column = pa.FixedSizeListArray.from_arrays(pa.array(change(values).ravel()), values.shape[1])
    forgery.table = forgery.table.set_column(forgery.table.column_names.index("logits"), "logits", column)


def dropped(forgery: Forgery) -> None:
    forgery.table = forgery.table.drop_columns(["logits"])


def unkept(forgery: Forgery) -> None:
    forgery.values["spec"]["keep_logits"] = False


@pytest.mark.parametrize(
    "change, words",
    [
        (lambda forgery: other_logits(forgery, lambda values: values[:, ::-1]), "another prediction than their logits"),
        (lambda forgery: other_logits(forgery, lambda values: values / 4), "another confidence than their logits"),
        (lambda forgery: other_logits(forgery, lambda values: values[::-1]), "another probability than their logits"),
        (dropped, "it has no logits, and its run kept them"),
        (unkept, "it has logits, and its run kept none"),
    ],
    ids=["reversed", "flattened", "of other images", "dropped", "not kept"],
)
def test_logits_that_contradict_the_other_columns_are_named(
    change: Any, words: str, kept: list[RunRecord], inputs: DataAtHand, tmp_path: Path
) -> None:
    assert kept[0].path
    assert examine(kept[0].path, inputs).outcome == OK
    forgery = Forgery.of(kept[0].path)
    change(forgery)
    verdict = examine(forgery.write(tmp_path), inputs)
    assert verdict.outcome == DIFFERS and words in " ".join(map(str, verdict.differences)), verdict.differences


def test_the_same_rows_with_and_without_logits_are_told_apart(
    kept: list[RunRecord], inputs: DataAtHand, tmp_path: Path
) -> None:
    """What lies there stays: with logits nothing is lacking, without them the reason says how to take them."""
    assert kept[0].path
    (without,) = run_small(tmp_path / "without", {**KEPT, "models": (kept[0].model.name,), "keep_logits": False})
    assert without.path and without.key == kept[0].key and kept[0].method == "default"
    outcomes = {}
    for name, first, second in (("with", kept[0].path, without.path), ("none", without.path, kept[0].path)):
        into = tmp_path / name
        merge(verify([first], inputs), into)
        (outcomes[name],) = merge(verify([second], inputs), into)
    assert outcomes["with"].outcome == IDENTICAL, outcomes["with"].reason
    assert outcomes["none"].outcome == CONFLICT and "the same rows without logits. Remove it" in outcomes["none"].reason
