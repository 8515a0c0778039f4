"""Records, comparisons and leaderboards as pandas frames: the numbers of the files and of the commands."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from helpers import harness as command

import harness
from harness.evaluation.records.record import RunRecord
from harness.report.names import label
from harness.report.ranks.board_ranks import TOP
from harness.types import HarnessError


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> list[RunRecord]:
    """Two classifiers under fifteen corruptions, four images each."""
    out = tmp_path_factory.mktemp("out")
    models = ["digits/resnet", "digits/vit"]
    return harness.evaluate(models, "digits-c", "default", limit=4, tile=4, out=out, progress=False)


def test_the_frame_of_a_record_has_the_numbers_of_its_file(records: list[RunRecord]) -> None:
    record = records[0]
    assert record.path
    values = json.loads(record.path.read_text())
    frame = record.frame()
    assert frame[["metric", "condition", "value", "n", "unit"]].to_dict("records") == [
        {"metric": m["name"], **{key: m[key] for key in ("condition", "value", "n", "unit")}} for m in values["metrics"]
    ]
    assert frame[["low", "high"]].to_numpy().tolist() == [m["interval"] for m in values["metrics"]]
    facts = ("suite", "version", "status", "coverage", "model", "method", "key")
    expected = [values[key] for key in ("suite", "suite_version", "status", "coverage")]
    expected += [values["model"]["name"], values["method"], values["key"]]
    assert frame[list(facts)].drop_duplicates().to_numpy().tolist() == [expected]


def test_the_table_of_a_record_is_its_parquet_file(records: list[RunRecord]) -> None:
    record = records[0]
    assert record.path
    pd.testing.assert_frame_equal(
        record.table(), pd.read_parquet(record.path.with_suffix(".parquet")), check_dtype=False
    )


def shown(value: float, low: float, high: float, *, sign: str = "") -> str:
    return f"{100 * value:{sign}.1f} [{100 * low:{sign}.1f}, {100 * high:{sign}.1f}]"


def test_a_comparison_is_that_of_the_command(
    records: list[RunRecord], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    a, b = records[0], records[1]
    frame = harness.compare(a, b)
    code, printed = command(monkeypatch, capsys, "compare", str(a.path), str(b.path))
    assert code == 0 and len(frame) == 16 and frame["condition"].iloc[-1] == "mean"
    for row in frame.itertuples():
        assert f"{row.condition} {shown(row.difference, row.low, row.high, sign='+')}" in printed
    right = [r.rows()["prediction"] == r.rows()["label"] for r in (a, b)]
    assert frame["difference"].iloc[-1] == pytest.approx(np.mean(right[1]) - np.mean(right[0]))
    assert label(b) in frame.attrs["title"]
    assert harness.compare(str(a.path), str(b.path)).equals(frame)


def test_a_leaderboard_is_that_of_the_command(
    records: list[RunRecord], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert records[0].path
    folder = records[0].path.parents[1]
    frame = harness.leaderboard(records)
    code, printed = command(monkeypatch, capsys, "leaderboard", "--results", str(folder))
    assert code == 0 and len(frame) == len(records)
    for row in frame.to_dict("records"):
        cells = shown(*(row[f"mean_accuracy{end}"] for end in ("", " low", " high")))
        # Four images separate no two rows.
        assert (row["rank_best"], row["rank_worst"]) == (1, len(records)) and np.isnan(row["rank"])
        assert f"1-{len(records)} {TOP} {row['model']} {row['method']} {cells}" in printed
    assert harness.leaderboard(folder, suite="digits-c").equals(frame)


def test_a_leaderboard_of_nothing_says_so(tmp_path: Path, records: list[RunRecord]) -> None:
    with pytest.raises(HarnessError, match="No records of suite 'cifar10'"):
        harness.leaderboard(records, suite="cifar10")
    with pytest.raises(HarnessError, match="No results folder"):
        harness.leaderboard(Path(tmp_path / "nothing"))
