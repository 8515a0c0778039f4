"""A small and fast run, and what must not change about it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness import cli
from harness.evaluation import loop
from harness.evaluation.prepare import prepare
from harness.evaluation.records import record
from harness.evaluation.records.record import RunRecord
from harness.types import RunSpec

ROOT = Path(__file__).resolve().parents[1]

RECORDED_FOLDER = ROOT / "tests" / "recorded"
"""Outputs of the authors' code, and the programs that recorded them."""

SMALL = RunSpec(
    suite="digits-c:corruption=glass_blur,frost,fog,elastic_transform,jpeg_compression",
    models=("digits/resnet", "digits/vit+diffaug"),
    methods=("default", "de:times=0,100,300", "dda:steps=20,start=2,scale=1"),
    denoiser="digits",
    limit=9,
    tile=4,
)
"""Nine images under five corruptions; nine is no multiple of the tile, of four, or of the batches that tests use."""

CHEAP: dict[str, Any] = {"models": ("digits/resnet",), "methods": ("default",), "denoiser": None}
"""Changes that leave one classifier of `SMALL`, without a diffusion model."""


def run_small(out: Path, changes: dict[str, Any] | None = None, **options: Any) -> list[RunRecord]:
    """Run `SMALL`, with changes, into a folder; the records that are complete."""
    job = prepare(replace(SMALL, **(changes or {})), out)
    return [record.load(path) for path in loop.run(job, **options)]


Outcome = dict[tuple[str, str], Any]


def outcome(records: list[RunRecord]) -> Outcome:
    """All that must not change: per pair the sample table's hash, the metrics and everything else but cost and time."""
    return {
        (r.model.name, r.method): (r.samples["sha256"], r.metrics, r.key, r.status, r.coverage, r.spec) for r in records
    }


def harness(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    """Run a command in this process: exit code, and everything printed, in one line."""
    code, out, err = outputs(monkeypatch, capsys, *arguments)
    return code, f"{out} {err}".strip()


def outputs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str
) -> tuple[int, str, str]:
    """Run a command in this process: exit code, output and errors, each in one line."""
    monkeypatch.setattr(sys, "argv", ["harness", *arguments])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    printed = capsys.readouterr()
    return int(stopped.value.code or 0), " ".join(printed.out.split()), " ".join(printed.err.split())


def process(
    *arguments: str, program: Sequence[str] = ("-m", "harness"), **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run a command in a separate process, in the repository. program: Python's arguments before the command's."""
    return subprocess.run(
        [sys.executable, *program, *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env={**os.environ, "COLUMNS": "200", "PYTHONPATH": str(ROOT), **environment},
    )


def save_every_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """A training run keeps its state after every step, however long that takes."""
    monkeypatch.setattr("harness.train.engine.state.SAVE_EVERY_SECONDS", 0.0)
    monkeypatch.setattr("harness.train.engine.state.SHARE_OF_TIME", float("inf"))
