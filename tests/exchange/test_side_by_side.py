"""Records verified by two processes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from exchange.forging import Forgery, shipped

from harness import plugins
from harness.exchange import side_by_side
from harness.exchange.inputs import DataAtHand
from harness.exchange.verify import DIFFERS, OK, UNCHECKED, examine


def test_two_processes_give_the_verdicts_of_one_in_the_order_of_the_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plugins.discover()
    monkeypatch.setattr(side_by_side, "FEWEST", 1)
    monkeypatch.setattr(side_by_side, "cores", lambda: 2)
    forgery = Forgery.of(shipped("digits", "digits.vit--default"))
    forgery.values["metrics"][0]["value"] = 0.97
    other = tmp_path / "other.json"
    other.write_text('{"schema": 999}')
    files = [forgery.write(tmp_path), shipped("digits", "digits.vit--default"), other]
    inputs = DataAtHand()
    verdicts = list(side_by_side.verify(files, inputs))
    assert [verdict.outcome for verdict in verdicts] == [DIFFERS, OK, UNCHECKED]
    assert [replace(verdict, subject=None) for verdict in verdicts] == [
        replace(examine(file, inputs), subject=None) for file in files
    ]
    assert verdicts[0].subject and verdicts[0].subject.inputs is inputs
