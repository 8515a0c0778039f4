"""Draws and sample ids that shipped records rest on, as literal values: they never change."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from harness import plugins
from harness.base import noise
from harness.evaluation.views.batch import BatchViews
from harness.models.tiles import Tiles
from harness.types import Batch


def digest(values: Tensor) -> str:
    """The first 16 hex digits of the SHA-256 of a tensor's bytes."""
    return hashlib.sha256(values.contiguous().numpy().tobytes()).hexdigest()[:16]


class NoiseAlone:
    """A denoiser that shows the noise it is given."""

    schedule = SimpleNamespace(betas=[0.0] * 1000)

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
