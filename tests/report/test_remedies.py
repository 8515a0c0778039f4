"""Messages that name the command to type."""

from __future__ import annotations

from dataclasses import replace

import pytest
from helpers import ROOT

from harness.base.errors import HarnessError
from harness.evaluation.records import record
from harness.report.selection import with_logits


def test_a_record_without_logits_names_the_run_that_keeps_them() -> None:
    entry = record.load(next((ROOT / "results" / "digits-c").glob("digits.vit--default--*.json")))
    bare = replace(entry, spec=replace(entry.spec, keep_logits=False, every=6))
    command = "harness run --suite digits-c --model digits/vit --tta default --every=6 --keep-logits"
    with pytest.raises(HarnessError, match=command):
        with_logits("digits/vit:default", [bare], "digits-c")
