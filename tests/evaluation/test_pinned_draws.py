"""Draws and sample ids that shipped records rest on, as literal values: they never change."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from harness import plugins
from harness.base import noise
from harness.diffusion.guided import sample_noise
from harness.evaluation.views.batch import BatchViews
from harness.generation.classes import labels_of
from harness.generation.requested import RequestedSamples
from harness.generation.spec import GenerateSpec, sample_id
from harness.models.tiles import Tiles
from harness.suites.bases.gradients.batch_targets import RunTargets
from harness.suites.bases.gradients.randomised import randomised
from harness.train.objectives.denoising import NoisePrediction
from harness.train.step import Step
from harness.types import Batch, Geometry


def digest(values: Tensor) -> str:
    """The first 16 hex digits of the SHA-256 of a tensor's bytes."""
    return hashlib.sha256(values.contiguous().numpy().tobytes()).hexdigest()[:16]


class NoiseAlone:
    """A denoiser that shows the noise it is given."""

    schedule = SimpleNamespace(betas=[0.0] * 1000, alpha_bar=np.ones(1000), network_times=lambda index: index)

    def check_times(self, times: tuple[int, ...]) -> None:
        """Any time will do."""

    def diffuse(self, images: Tensor, t: Tensor, eps: Tensor) -> Tensor:
        return eps

    def predict_x0(self, x: Tensor, t: Tensor) -> Tensor:
        return x


class Smooth:
    """A smoother that shows the noise of its image."""

    calls = votes = 1

    def __call__(
        self, images: Tensor, sigma: float, denoiser: object, eps: Callable[[str], Tensor], vote: int
    ) -> Tensor:
        return eps("noise")


def views() -> BatchViews:
    """Views of two black images under seed 1."""
    denoiser: Any = NoiseAlone()
    return BatchViews(
        Batch(("a", "b"), torch.zeros(2, 3, 8, 8), torch.zeros(2, dtype=torch.int64)), denoiser, Tiles(4), 1
    )


@pytest.mark.parametrize(
    "draw, expected",
    [
        (
            lambda: noise.gaussian((3, 8, 8), seed=1, purpose="denoise", samples=["a", "b"], draw=100),
            "c4c40dfdeb5dd39d",
        ),
        (
            lambda: noise.gaussian((3, 8, 8), seed=0, purpose="smooth/0.5/noise", samples=["a", "b"], draw=[3, 4]),
            "7bff80dad129be82",
        ),
        (
            lambda: noise.integers(0, 1000, seed=2, purpose="diffaug-time", samples=["a", "b", "c"], draw=5),
            "3670b4f2a03e2a7d",
        ),
        (lambda: torch.from_numpy(noise.generator(0, "gaussian_noise/5", "x").standard_normal(64)), "1e9ca758f9b6b2ff"),
    ],
    ids=["gaussian", "gaussian with several draws", "integers", "generator"],
)
def test_keyed_noise_is_pinned(draw: Callable[[], Tensor], expected: str) -> None:
    assert digest(draw()) == expected


def test_the_noise_of_views_is_pinned() -> None:
    shown = views()
    assert [digest(x) for x in shown.denoised([50, 100])] == ["533e275269a44e88", "c4c40dfdeb5dd39d"]
    assert digest(shown.diffused(100).noisy) == "c4c40dfdeb5dd39d"
    assert digest(shown.diffused(None).times) == "d2383342f73b8548"
    smoother: Any = Smooth()
    smoothed = shown.smoothed(smoother, 0.5, torch.tensor([0, 1]), torch.tensor([2, 3]), 0)
    assert digest(smoothed) == "02513ecf56063956"


def test_the_embedded_test_images_are_pinned() -> None:
    data = plugins.dataset["digits"].build("test")
    assert data.ids[:3] == ("digits-0434", "digits-0919", "digits-1365")
    assert (len(data.ids), data.sha256[:16]) == (600, "87b7d2d49553b1a8")


def test_the_noise_of_generated_samples_is_pinned() -> None:
    ids = [sample_id(0), sample_id(123456)]
    assert ids == ["sample/000000", "sample/123456"]
    assert RequestedSamples("digits", 2, 10, Geometry(8, 8, "bicubic")).ids == ["sample/000000", "sample/000001"]
    assert digest(sample_noise((3, 8, 8), 1, ids, None)) == "6d4cd3b6a5ff4b30"
    assert digest(sample_noise((3, 8, 8), 1, ids, 7)) == "b260c7315490b2e4"


def test_random_classes_are_pinned() -> None:
    labels = labels_of(GenerateSpec(classes="random", samples=64, seed=1), [str(number) for number in range(10)])
    assert digest(labels) == "7c3d375c1b2a3335"


def test_the_wrong_classes_of_gradients_are_pinned() -> None:
    count = 32
    target: Any = lambda views, labels: labels  # noqa: E731
    nothing: Any = SimpleNamespace(restored=lambda: torch.zeros(count, 1))
    judge: Any = None
    run_targets = RunTargets(target, np.zeros((10, 1)), judge, 1.0)
    targets = run_targets.at(nothing, torch.arange(count) % 10, [f"digits-{number:04d}" for number in range(count)])
    assert digest(targets.wrong) == "2c1e8e17cd406152"


def test_the_random_weights_of_the_control_are_pinned() -> None:
    weight = randomised(torch.nn.Linear(8, 8), 3).weight
    assert digest(weight.detach()) == "839e07c161cf050f"


def test_the_labels_that_a_training_drops_are_pinned() -> None:
    seen: list[Tensor] = []

    def network(x: Tensor, t: Tensor, return_dict: bool, class_labels: Tensor) -> tuple[Tensor]:
        seen.append(class_labels)
        return (x,)

    count = 64
    ids = tuple(f"digits-{number:04d}" for number in range(count))
    batch = Batch(ids, torch.zeros(count, 3, 8, 8), torch.zeros(count, dtype=torch.int64))
    denoiser: Any = NoiseAlone()
    denoiser.null_label = 10
    predictor: Any = network
    NoisePrediction(denoiser, conditional=True, label_dropout=0.5)(predictor, Step(batch, batch, seed=1, epoch=2))
    assert digest(seen[0]) == "4e6ef12aa0dfe374"
