"""Records from Python, by their files."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers import ROOT

import harness
from harness.base.errors import HarnessError


def test_a_record_opens_by_its_path_and_load_says_how() -> None:
    file = next((ROOT / "results" / "digits").glob("digits.vit--default--*.json"))
    for path in (file, str(file)):
        assert harness.load_record(path).model.name == "digits/vit"
    with pytest.raises(HarnessError, match=r"is no classifier.*harness\.load_record"):
        harness.load(file)
    with pytest.raises(HarnessError, match="No such file"):
        harness.load_record(Path("absent.json"))
