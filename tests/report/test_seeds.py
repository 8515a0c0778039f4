"""Trainings that differ only in their seed: one row by their cards, and paired comparisons over seeds."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import ROOT
from scipy import stats

from harness.base.errors import HarnessError
from harness.evaluation.records import record
from harness.evaluation.records.record import RunRecord
from harness.report.ranks import seeds

SHIPPED = "digits.resnet--default--*.json"


@pytest.fixture
def trained(tmp_path: Path) -> dict[str, RunRecord]:
    """Records of two ways of training over three seeds, as `studies/seeds.py` lays them out, and of a single one.

    The second way starts from the first, whose folder has the seed in its name.
    """
    (file,) = (ROOT / "results" / "digits").glob(SHIPPED)
    shipped = record.load(file)
    entries = {}
    for way, init, scores in (
        ("plain", "", (0.9, 0.92, 0.91)),
        ("more", "plain", (0.94, 0.95, 0.96)),
        ("odd", "", (0.5,)),
    ):
        for seed, score in enumerate(scores):
            name = f"{way}-{seed}"
            settings = {"model": "resnet", "epochs": 9 if way == "odd" else 20, "seed": seed}
            write(tmp_path / name, name, {**settings, "init": f"{init}-{seed}" if init else ""})
            model = replace(shipped.model, name=str(tmp_path / name), sha256=name)
            metrics = [replace(shipped.metrics[0], value=score), *shipped.metrics[1:]]
            entries[name] = replace(shipped, model=model, metrics=metrics, key=name, path=tmp_path / f"{name}.json")
    return entries


def write(folder: Path, sha256: str, spec: dict[str, Any]) -> None:
    folder.mkdir()
    (folder / "card.json").write_text(json.dumps({"sha256": sha256, "spec": spec, "data": {"sha256": "d"}}))


def test_trainings_that_differ_in_their_seed_are_one_row_with_a_t_interval(trained: dict[str, RunRecord]) -> None:
    table = seeds.ranking(list(trained.values()))
    assert [Path(row[0]).name for row in table.rows] == ["more", "plain", "odd-0"]
    assert [row[-1] for row in table.rows] == ["3", "3", "1"]
    values = np.array([0.94, 0.95, 0.96])
    half = stats.t.ppf(0.975, 2) * values.std(ddof=1) / np.sqrt(3)
    first = table.data[0]
    assert (first["accuracy low"], first["accuracy high"]) == pytest.approx((0.95 - half, 0.95 + half))
    assert table.rows[2][2] == "50.0", "a single training has no interval over trainings"


def test_families_are_compared_paired_by_seed(trained: dict[str, RunRecord]) -> None:
    records = list(trained.values())
    table = seeds.compare(trained["plain-2"], trained["more-0"], records)
    (row,) = table.data
    gains = np.array([0.04, 0.03, 0.05])
    assert row["difference"] == pytest.approx(0.04) and row["n"] == 3
    assert row["p"] == pytest.approx(stats.ttest_1samp(gains, 0).pvalue)
    assert seeds.compare(trained["more-0"], trained["plain-2"], records).data[0]["difference"] == pytest.approx(-0.04)
    with pytest.raises(HarnessError, match="share 1 seeds: pairing takes two"):
        seeds.compare(trained["odd-0"], trained["more-0"], records)


def test_another_setting_or_another_card_is_another_family(trained: dict[str, RunRecord], tmp_path: Path) -> None:
    card = tmp_path / "plain-1" / "card.json"
    values = json.loads(card.read_text())
    card.write_text(json.dumps({**values, "spec": {**values["spec"], "epochs": 21}}))
    names = {f.label.rpartition("/")[2] for f in seeds.families(list(trained.values()))}
    assert "plain:default (seeds 0, 2)" in names and "plain-1:default (seeds 1)" in names
    card.write_text(json.dumps({**values, "sha256": "of other weights"}))
    assert seeds.card_of(trained["plain-1"]) is None
    card.write_text("[1]")
    assert seeds.card_of(trained["plain-1"]) is None


def test_two_records_of_one_seed_are_refused(trained: dict[str, RunRecord]) -> None:
    twice = replace(trained["plain-0"], key="other")
    with pytest.raises(HarnessError, match="trainings with one seed, 0"):
        seeds.families([*trained.values(), twice])


def test_bundled_classifiers_have_cards() -> None:
    (file,) = (ROOT / "results" / "digits").glob(SHIPPED)
    place, card = seeds.card_of(record.load(file)) or (Path(), {})
    assert place.name == "digits-resnet.json" and card["spec"]["seed"] == 0


def test_equal_gains_in_all_trainings_have_no_interval_and_no_p_and_say_why(trained: dict[str, RunRecord]) -> None:
    for name, entry in trained.items():
        if name.startswith("more"):
            value = trained[name.replace("more", "plain")].metrics[0].value + 0.01
            trained[name] = replace(entry, metrics=[replace(entry.metrics[0], value=value), *entry.metrics[1:]])
    table = seeds.compare(trained["plain-0"], trained["more-0"], list(trained.values()))
    (row,), (numbers,) = table.rows, table.data
    assert row[1:] == ["+1.00", "3", "-"] and all(math.isnan(numbers[name]) for name in ("low", "high", "p"))
    assert seeds.EQUAL in table.caption
    ranked = seeds.ranking(list(trained.values()))
    assert seeds.EQUAL in ranked.caption and "which no test supports" in ranked.caption
