"""Features that detectors learn from go with the network that they are of; what cannot be probed is told."""

from __future__ import annotations

import shutil
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import outcome, run_small
from torch import Tensor, nn

from harness import plugins
from harness.base.errors import Notice
from harness.evaluation.loop import Progress
from harness.evaluation.records.record import RunRecord
from harness.types import Response

LEARNS: dict[str, Any] = {
    "suite": "openood-digits", "models": ("test/two-halves",), "methods": ("knn",), "denoiser": None, "limit": 4,
}  # fmt: skip

BIAS = {"": 0.0}
"""Part of the network that no hash covers."""


class TwoHalves(nn.Module):
    """Linear features, rectified, and a linear head."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(3 * 32 * 32, 8)
        self.outer = nn.Linear(8, 10)
        with torch.no_grad():
            for values in self.parameters():
                values.copy_(torch.arange(values.numel()).reshape(values.shape).sin() / 5)

    def features(self, images: Tensor) -> Tensor:
        return (self.inner(images.flatten(1)) + BIAS[""]).relu()

    def head(self, features: Tensor) -> Tensor:
        logits: Tensor = self.outer(features)
        return logits

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.features(images))


def run(out: Path, **options: Any) -> tuple[list[RunRecord], list[str]]:
    """The records, and the notices that were given."""
    if "test/two-halves" not in plugins.model:
        plugins.model("test/two-halves")(TwoHalves)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        records = run_small(out, LEARNS, **options)
    return records, [str(w.message) for w in caught if issubclass(w.category, Notice)]


def test_what_was_learnt_of_another_network_goes_though_its_record_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(tmp_path / "out")
    shutil.rmtree(tmp_path / "out" / "openood-digits")
    ticks: list[Progress] = []
    _, notices = run(tmp_path / "out", report=ticks.append)
    assert not notices and not [t for t in ticks if t.stage], "the same network's features serve again"
    shutil.rmtree(tmp_path / "out" / "openood-digits")
    monkeypatch.setitem(BIAS, "", 0.5)
    again, (notice,) = run(tmp_path / "out")
    assert "What was learnt of test/two-halves is computed anew: it gives other outputs" in notice
    assert outcome(again) == outcome(run(tmp_path / "undisturbed")[0])


def test_a_detector_that_cannot_be_probed_is_told_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Picky:
        """Works on digits, not on stand-ins."""

        def __call__(self, response: Response) -> Tensor:
            if response.features.shape[1] != 8:
                raise ValueError("eight features were expected")
            return response.features[:, 0]

    for name in ("picky", "pickier"):
        plugins.detector(f"test/{name}")(type(name, (Picky,), {"__module__": __name__}))
    monkeypatch.setitem(LEARNS, "methods", ("test/picky", "test/pickier"))
    records, (notice,) = run(tmp_path)
    assert "test/picky cannot be probed on stand-ins (ValueError: eight features were expected)" in notice.replace(
        "default+", ""
    )
    assert "test/pickier" in notice
    assert all(entry.probe and "eight features" in entry.probe["unknown"]["method"] for entry in records)
