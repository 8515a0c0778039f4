"""The README's code runs as it stands there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from helpers import run_small
from torch import nn

from harness import plugins

BLOCKS = re.findall(r"```python\n(.*?)```", (Path(__file__).resolve().parents[1] / "README.md").read_text(), re.S)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def block(marker: str) -> str:
    (found,) = [code for code in BLOCKS if marker in code]
    return found


def test_plugins_of_the_readme(folder: Path) -> None:
    torch.save(nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 10)).state_dict(), folder / "mine.pt")
    for marker in ("@model(", "@method(", "@suite("):
        file = folder / f"{marker[1:-1]}.py"
        file.write_text(block(marker).replace('"mine"', '"readme/mine"'))
        plugins.discover(file)
    changes = {"suite": "digits-fog", "models": ("readme/mine",), "methods": ("flip-se:weight=0.3",), "denoiser": None}
    (entry,) = run_small(folder / "out", changes)
    assert entry.metric("mean_accuracy", "mean")
    assert len(entry.rows()["id"]) == 9 * 5


def test_the_python_of_the_readme(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scope: dict[str, object] = {}
    exec(block("import corruptions"), scope)
    restored = scope["restored"]
    assert isinstance(restored, torch.Tensor) and restored.shape == (8, 3, 32, 32)
    assert "mean_accuracy" in capsys.readouterr().out


def test_a_model_is_about_ten_lines() -> None:
    assert len(block("@model(").strip().splitlines()) <= 12
