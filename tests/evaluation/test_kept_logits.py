"""Logits in the sample table: they change no number and no key, and are never mixed with rows without them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import CHEAP, SMALL, run_small

from harness.evaluation.loop import Progress
from harness.evaluation.preflight import checks
from harness.evaluation.prepare import prepare
from harness.types import HarnessError

PLAIN: dict[str, Any] = {**CHEAP, "suite": "digits", "limit": 24}
KEPT = {**PLAIN, "keep_logits": True}


def stop(tick: Progress) -> None:
    if tick.done:
        raise KeyboardInterrupt


def test_logits_change_no_number_and_no_key_and_replace_a_record_without_them(tmp_path: Path) -> None:
    (plain,) = run_small(tmp_path, PLAIN)
    (kept,) = run_small(tmp_path, KEPT)
    assert kept.key == plain.key and kept.path == plain.path
    assert [m for m in kept.metrics if m.name != "brier"] == list(plain.metrics)
    rows = kept.rows("logits")
    assert rows["logits"].dtype == np.float16 and rows["logits"].shape == (24, 10)
    assert (rows["logits"].argmax(axis=1) == rows["prediction"]).all()
    assert np.exp(rows["logits"].max(axis=1)) == pytest.approx(rows["confidence"], abs=2e-3)
    (again,) = run_small(tmp_path, PLAIN)
    assert again == kept, "a record with more than was asked for counts"


def test_parts_of_a_stopped_run_without_logits_are_not_mixed_in(tmp_path: Path) -> None:
    many = {**PLAIN, "suite": "digits-c:corruption=fog,contrast", "limit": 5}

    def after_a_part(tick: Progress) -> None:
        if tick.done > 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_small(tmp_path, many, report=after_a_part)
    assert list((tmp_path / ".parts").rglob("*.parquet")), "there is a part without logits"
    (kept,) = run_small(tmp_path, {**many, "keep_logits": True})
    assert kept.rows("logits")["logits"].shape == (10, 10)


def test_suites_without_logits_and_tables_too_large_are_refused_before_the_first_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(HarnessError, match="openood-digits has no logits to keep"):
        detection = {"suite": "openood-digits", "methods": ("default+msp",), "keep_logits": True}
        prepare(replace(SMALL, **{**CHEAP, **detection}), tmp_path)
    monkeypatch.setattr(checks, "MOST", 100)
    with pytest.raises(HarnessError, match="24 images and conditions take"):
        prepare(replace(SMALL, **KEPT), tmp_path)
