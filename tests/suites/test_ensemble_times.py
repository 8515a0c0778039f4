"""DE by its times: every ensemble is DE itself, from one pass of denoising that all of them share."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from helpers import run_small

from harness import plugins
from harness.types import HarnessError

CORRUPTED = "severity=5,corruption=fog,frost"
SUITE = f"de-times:{CORRUPTED},step=100,150,last=300"


def test_each_ensemble_is_the_method_de_and_denoised_images_are_shared(tmp_path: Path) -> None:
    changes = {"models": ("digits/resnet", "digits/vit"), "limit": 3}
    entries = run_small(tmp_path / "a", {**changes, "suite": SUITE, "methods": ("default",)})
    texts = {"step=100 t=200": "de:times=0,100,200", "step=150 t=300": "de:times=0,150,300", "t=0": "default"}
    others = run_small(tmp_path / "b", {**changes, "suite": f"digits-c:{CORRUPTED}", "methods": tuple(texts.values())})
    names = [f"step={step} t={t}" for step, t in plugins.suite.configure(SUITE).plugin.ensembles]
    assert names == ["step=100 t=100", "step=100 t=200", "step=100 t=300", "step=150 t=150", "step=150 t=300"]
    assert len(entries) == 2
    for entry in entries:
        # 100, 150, 200 and 300, for three images under two corruptions, whatever the number of classifiers
        assert entry.cost.denoiser_calls == 4 * 6
        rows = entry.rows()
        for name, method in texts.items():
            (other,) = (o for o in others if (o.model.name, o.method) == (entry.model.name, method))
            classes = rows["prediction"] if name == "t=0" else rows["ensembles"][:, names.index(name)]
            np.testing.assert_array_equal(classes, other.rows()["prediction"])
            assert entry.metric("mean_accuracy", name).value == other.metric("mean_accuracy", "mean").value
            assert entry.metric("mean_accuracy", name).interval == other.metric("mean_accuracy", "mean").interval


@pytest.mark.parametrize("settings", ["step=0", "step=50,50", "step=700", "last=10"])
def test_steps_beyond_the_last_time_are_refused(settings: str) -> None:
    with pytest.raises(HarnessError, match="different numbers from 1 to last"):
        plugins.suite.configure(f"de-times:{settings}")


def test_methods_that_denoise_are_refused(tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match="leave out --tta"):
        run_small(tmp_path, {"suite": SUITE, "models": ("digits/vit",), "methods": ("de",)})
