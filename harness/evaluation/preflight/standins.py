"""Small fixed stand-ins for networks, data and a diffusion model, to probe methods with at next to no cost."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from harness.base import noise
from harness.data import ArrayDataset
from harness.diffusion.denoiser import Denoiser
from harness.diffusion.guided import SamplingStep
from harness.diffusion.schedule import Schedule, linear
from harness.evaluation.features import FeatureBank
from harness.evaluation.response import score
from harness.evaluation.views.calls import StandInViews
from harness.models.probe import outputs, pooled, rows_of
from harness.models.tiles import TiledClassifier, Tiles
from harness.plugins import Combination, Tuned
from harness.types import Geometry, HarnessError, Smoother, Weights

SIDE = 4
"""Side to which the stand-in network averages images."""

WIDTH = 32
"""Features of the stand-in network."""

CLASSES = 10
"""Classes of the stand-in data."""

TRAINING = 1_000
"""Training images of the stand-in data."""


def _drawn(purpose: str, *shape: int) -> Tensor:
    return noise.gaussian(shape, seed=0, purpose="stand-in", samples=[purpose])[0]


class StandInNetwork(nn.Module):
    """A fixed random classifier (B, 3, H, W) to (B, classes), with features and a linear head."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.inner = nn.Linear(3 * SIDE**2, WIDTH)
        self.outer = nn.Linear(WIDTH, classes)
        for name, values in self.named_parameters():
            values.data = _drawn(name, *values.shape) / values.shape[-1] ** 0.5

    def features(self, images: Tensor) -> Tensor:
        """(B, `WIDTH`), not negative."""
        return F.relu(self.inner(F.adaptive_avg_pool2d(images, SIDE).flatten(1) * 4 - 2))

    def head(self, features: Tensor) -> Tensor:
        """Logits (B, classes)."""
        return cast(Tensor, self.outer(features))

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.features(images))


class _Half(nn.Module):
    """A denoising network that takes half of every pixel for noise."""

    def forward(self, x_t: Tensor, times: Tensor, return_dict: bool = True) -> tuple[Tensor]:
        return (x_t / 2,)


def method_outputs(method: Any, images: Tensor, classes: int, who: str, diffused: bool) -> Tensor:
    """Class probabilities (B, K) of a test-time method on stand-in views of images (B, 3, H, W)."""
    network = StandInNetwork(classes).eval().requires_grad_(False)
    group = int(getattr(method, "group", 1))
    many = torch.cat([images, 1 - images]).repeat(group, 1, 1, 1)[: 2 * group] if group > 1 else images
    return outputs(lambda x: method(StandInViews(x, diffused), network), many, who, group=group)


def smoother_outputs(smoother: Smoother, images: Tensor, sigma: float, schedule: Schedule | None, who: str) -> Tensor:
    """Smoothed images (B, 3, H, W), made with a stand-in for the denoiser, `pooled`."""
    denoiser = Denoiser(_Half(), schedule) if schedule else None

    def show(x: Tensor) -> Tensor:
        names = [str(row) for row in rows_of(x, images)]

        def eps(purpose: str) -> Tensor:
            return noise.gaussian(x.shape[1:], seed=0, purpose=f"probe/{purpose}", samples=names)

        return pooled(smoother(x, sigma, denoiser, eps, 0))

    return outputs(show, images, who)


class _NoisyStandIn(StandInNetwork):
    """A stand-in that knows the time and the denoised image."""

    denoised = True

    def noisy(self, x_t: Tensor, x0_hat: Tensor | None, t: Tensor) -> Tensor:
        """Logits (B, classes)."""
        assert x0_hat is not None
        return cast(Tensor, self((x_t + 1) / 4 + x0_hat / 2))


class _HalfByClass(_Half):
    """A denoising network that takes a larger share for noise, the larger the class."""

    class_embedding = True

    def forward(
        self, x_t: Tensor, times: Tensor, return_dict: bool = True, class_labels: Tensor | None = None
    ) -> tuple[Tensor]:
        assert class_labels is not None
        return (x_t / (2 + class_labels[:, None, None, None] / 100),)


def guide_outputs(guide: Any, images: Tensor, classes: int, who: str) -> Tensor:
    """Predicted noise and gradient, added and `pooled`, of a guide for images (B, 3, H, W) taken for x_t."""
    network = _NoisyStandIn(classes).eval().requires_grad_(False)
    denoiser = Denoiser(_HalfByClass(), linear(), null_label=classes)
    low = min(guide.interval[0], len(denoiser.schedule.betas) - 1)

    def guided(x: Tensor) -> Tensor:
        labels = torch.tensor(rows_of(x, images)) % classes
        guidance = guide(SamplingStep(denoiser, denoiser.schedule, low, low, x * 2 - 1, labels), network)
        return pooled(guidance.noise if guidance.gradient is None else guidance.noise + guidance.gradient)

    return outputs(guided, images, who)


def detector_outputs(method: Combination, images: Tensor, on_probabilities: bool) -> Tensor:
    """Scores (B,) of a detector that learnt from stand-in features, for images (B, 3, H, W).

    Raises what the detector raises: not every one can do with so few images.
    """
    classifier = TiledClassifier(StandInNetwork(CLASSES), Tiles(100))
    training = _data("train", TRAINING)
    inner = method.inner.base if isinstance(method.inner, Tuned) else method.inner
    with tempfile.TemporaryDirectory() as cache:
        bank = FeatureBank(
            classifier, Weights("stand-in", "", ""), training, _data("validation", TRAINING // 10), "", Path(cache)
        )
        detect = inner.fit(bank) if hasattr(inner, "fit") else inner
        views = [images, images.flip(-1)]
        probabilities = classifier(images).softmax(-1)
        return score(detect, on_probabilities, classifier, probabilities, views if on_probabilities else views[:1])


def _data(split: str, count: int) -> Any:
    """Noisy images of one colour each, which decides their class."""
    labels = torch.arange(count) % CLASSES
    colours = _drawn("colours", CLASSES, 3, 1, 1)[labels]
    pixels = (colours + 0.5 * _drawn(split, count, 3, SIDE, SIDE)).sigmoid() * 255
    ids = tuple(f"{split}/{k}" for k in range(count))
    return ArrayDataset("stand-in", ids, pixels.to(torch.uint8), labels, CLASSES, Geometry(None, SIDE, "bilinear"))


def unprobed(error: Exception) -> str:
    """The reason why something could not be probed, for the record."""
    return str(error) if isinstance(error, HarnessError) else f"{type(error).__name__}: {error}"
