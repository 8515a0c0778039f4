"""Conditional DiffAug: accuracy by lambda, for a tiny class-conditional denoiser."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers import SMALL, run_small
from small_denoisers import images, random_conditional, random_unet

from harness import plugins
from harness.diffusion.denoiser import Denoiser
from harness.evaluation.views.batch import BatchViews
from harness.models.tiles import Tiles
from harness.train.objectives.reverse import Reverse
from harness.types import Batch, HarnessError, Weights

SUITE = "conditional-diffaug:times=300,600,lambdas=0,0.5,1"


def register(name: str, denoiser: Denoiser) -> None:
    plugins.denoiser(name)(lambda: (denoiser, Weights(name, "0" * 64, "test")))


def test_the_view_is_the_reverse_step_of_training() -> None:
    denoiser = random_conditional()
    batch = Batch(("a", "b", "c"), images(3, 32), torch.tensor([7, 0, 3]))
    views = BatchViews(batch, denoiser, Tiles(2), seed=5)
    seen = views.diffused(600).noisy
    noise = (seen - denoiser.diffuse(batch.images, torch.tensor([600] * 3), torch.zeros_like(seen))) / (
        1 - denoiser.schedule.alpha_bar[600]
    ) ** 0.5
    for weight, image in zip((0.0, 0.25, 1.0), views.conditioned(600, batch.labels, (0.0, 0.25, 1.0)), strict=True):
        reverse = Reverse(denoiser, conditional=denoiser, weight=weight)
        expected = reverse(batch.images, torch.tensor([600] * 3), noise.float(), batch.labels)
        torch.testing.assert_close(image, expected, atol=1e-4, rtol=0)
    (without,) = views.conditioned(600, batch.labels, (0.0,))
    (denoised,) = views.denoised([600])
    torch.testing.assert_close(without, denoised, atol=1e-6, rtol=0)


def test_rows_are_classes_by_lambda_and_metrics_their_accuracies(tmp_path: Path) -> None:
    register("tiny", random_conditional())
    (entry,) = run_small(
        tmp_path, {"suite": SUITE, "models": ("digits/vit",), "methods": ("default",), "denoiser": "tiny"}
    )
    rows = entry.rows()
    assert rows["mixed"].shape == (18, 3) and (rows["prediction"] == rows["mixed"][:, 0]).all()
    for time in (300, 600):
        cells = rows["condition"] == f"t={time}"
        for k, weight in enumerate(("0", "0.5", "1")):
            metric = entry.metric("accuracy", f"t={time} lambda={weight}")
            assert metric and metric.n == 9
            assert metric.value == np.mean(rows["mixed"][cells, k] == rows["label"][cells])
    assert entry.cost.denoiser_calls == 18 * 2
    assert any("told the true class" in note for note in entry.notes)


def test_classes_of_the_denoiser_are_matched_by_name(tmp_path: Path) -> None:
    backwards = random_conditional()
    table: Any = backwards.network.class_embedding
    table.weight[:10] = table.weight[:10].flip(0)
    details = {"classes": list("9876543210")}
    plugins.denoiser("backwards")(lambda: (backwards, Weights("backwards", "1" * 64, "test", details=details)))
    register("tiny", random_conditional())
    columns = []
    for name in ("tiny", "backwards"):
        settings = {"suite": SUITE, "models": ("digits/vit",), "methods": ("default",), "denoiser": name}
        (entry,) = run_small(tmp_path / name, settings)
        columns.append(entry.rows()["mixed"])
    assert (columns[0] == columns[1]).all()


@pytest.mark.parametrize("denoiser", [random_unet(), replace(random_conditional(), null_label=None)])
def test_other_diffusion_models_are_refused(tmp_path: Path, denoiser: Denoiser) -> None:
    register("other", denoiser)
    with pytest.raises(HarnessError, match=r"class-conditional|--label-dropout"):
        run_small(tmp_path, {"suite": SUITE, "models": ("digits/vit",), "methods": ("default",), "denoiser": "other"})


@pytest.mark.parametrize("settings", ["lambdas=0,0", "lambdas=-1,0", "times=600,600"])
def test_bad_settings_are_refused(settings: str) -> None:
    with pytest.raises(HarnessError, match="must be distinct and not negative"):
        plugins.suite.configure(f"conditional-diffaug:{settings}")


def test_methods_that_denoise_are_refused(tmp_path: Path) -> None:
    register("tiny", random_conditional())
    with pytest.raises(HarnessError, match="leave out --tta"):
        run_small(tmp_path, {"suite": SUITE, "models": SMALL.models[:1], "methods": ("de",), "denoiser": "tiny"})
