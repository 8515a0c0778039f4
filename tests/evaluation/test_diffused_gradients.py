"""Gradients at diffused images, by finite differences of tiny networks in float64."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from small_denoisers import images, normal, random_unet
from torch import Tensor, nn

from harness import plugins
from harness.diffusion.denoiser import Denoiser
from harness.diffusion.log_probability import log_probability, log_probability_by_odds
from harness.diffusion.schedule import cosine
from harness.evaluation.views.batch import BatchViews, Diffused
from harness.evaluation.views.diffused_gradients import KINDS, DiffusedGradients
from harness.models.classifier import TimeConditionedClassifier
from harness.models.tiles import TiledClassifier, Tiles
from harness.types import Batch, BatchTask, HarnessError, Pair, Weights

COUNT, SIDE, CLASSES, TIME = 3, 16, 4, 300


class Body(nn.Module):
    """A smooth network of images and times."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Flatten(), nn.Linear(channels * SIDE**2, 8), nn.Tanh(), nn.Linear(8, CLASSES)
        ).double()

    def forward(self, x: Tensor, t: Tensor | None = None) -> Tensor:
        scale = 1.0 if t is None else (1 + t[:, None] / 1000)
        logits: Tensor = scale * self.layers(x)
        return logits


@dataclass(frozen=True)
class Case:
    """A classifier, and by kind its logits as a function of x_t and of x0_hat in [-1, 1]."""

    network: nn.Module
    logits: Callable[[str, Tensor, Tensor], Tensor]


def case(kind: str) -> Case:
    torch.manual_seed(0)
    t = torch.full((COUNT,), TIME)
    if kind == "plain":
        plain = Body(3)
        return Case(plain, lambda way, x, x0: plain((x + 1).div(2).clamp(0, 1) if way == "raw" else (x0 + 1) / 2))
    network = TimeConditionedClassifier(Body(6 if kind == "da" else 3), kind == "da")
    if kind == "da":
        return Case(network, lambda way, x, x0: network.noisy(x, (x0 + 1) / 2, t))
    return Case(network, lambda way, x, x0: network.noisy(x, None, t))


@pytest.fixture(scope="module")
def denoiser() -> Denoiser:
    unet = random_unet()
    return Denoiser(unet.network.double(), unet.schedule)


def diffused(denoiser: Denoiser) -> tuple[BatchViews, Tensor]:
    labels = torch.tensor([0, 3, 1])
    batch = Batch(("a", "b", "c"), images(COUNT, SIDE).double(), labels)
    return BatchViews(batch, denoiser, Tiles(2), 0), labels


def tiled(network: nn.Module) -> TiledClassifier:
    return TiledClassifier(network, Tiles(2), Tiles(2))


@pytest.mark.parametrize("way", KINDS)
@pytest.mark.parametrize("classifier", ["plain", "noisy", "da"])
def test_gradients_are_finite_differences(classifier: str, way: str, denoiser: Denoiser) -> None:
    chosen = case(classifier)
    batch_views, labels = diffused(denoiser)
    views = batch_views.diffused(TIME)
    gradient = DiffusedGradients(tiled(chosen.network), views, labels).of(way)
    if (classifier, way) == ("noisy", "partial"):
        assert gradient is None
        return
    assert gradient is not None and gradient.dtype == torch.float64

    def value(x_t: Tensor, x0: Tensor) -> Tensor:
        with torch.no_grad():
            return chosen.logits(way, x_t, x0).log_softmax(1).gather(1, labels[:, None])[:, 0]

    def along(step: Tensor) -> Tensor:
        x_t, x0 = views.noisy, views.restored() * 2 - 1
        if way == "partial":
            return value(x_t, x0 + step)
        x_t = x_t + step
        if way == "total":
            with torch.no_grad():
                x0 = denoiser.predict_x0(x_t, views.times) * 2 - 1
        return value(x_t, x0)

    direction = 1e-6 * normal(COUNT, 3, SIDE, SIDE).double()
    expected = (along(direction) - along(-direction)) / 2
    assert expected.abs().min() > 1e-9
    assert (gradient * direction).flatten(1).sum(1) == pytest.approx(expected, rel=1e-5)


def test_the_total_derivative_is_zero_through_clipped_pixels(denoiser: Denoiser) -> None:
    batch_views, _ = diffused(denoiser)
    views = batch_views.diffused(TIME)
    x0 = views.restored()
    clipped = ((x0 == 0) | (x0 == 1)).double()
    assert 0 < clipped.mean() < 1
    assert not views.pulled_back(clipped, Tiles(2)).any() and views.pulled_back(1 - clipped, Tiles(2)).any()
    assert batch_views.calls == 3 * COUNT, "one call to denoise, and one for each derivative"


def test_the_log_probability_keeps_its_gradient_where_it_rounds_to_zero() -> None:
    logits = normal(6, 5)
    labels = torch.tensor([0, 1, 2, 3, 4, 0])
    expected = logits.log_softmax(1).gather(1, labels[:, None])[:, 0]
    assert torch.equal(log_probability(logits, labels), expected)
    assert log_probability_by_odds(logits, labels) == pytest.approx(expected)
    certain = torch.tensor([[60.0, 1.0, 0.0]], requires_grad=True)
    (gradient,) = torch.autograd.grad(log_probability_by_odds(certain, torch.tensor([0])).sum(), certain)
    assert gradient[0].sum().abs() < 1e-6 * gradient[0, 0], "one gains what the others lose"
    assert gradient[0, 0] > 0


class Clock(Body):
    """A body that notes the times it is given. takes_network_times: as of guided-diffusion's classifiers."""

    def __init__(self, channels: int, takes_network_times: bool) -> None:
        super().__init__(channels)
        self.takes_network_times = takes_network_times
        self.seen: list[Tensor] = []

    def forward(self, x: Tensor, t: Tensor | None = None) -> Tensor:
        assert t is not None
        self.seen.append(t)
        return super().forward(x, t)


@pytest.mark.parametrize("way", ["raw", "partial", "accuracy"])
@pytest.mark.parametrize("takes", [True, False], ids=["OpenAI's", "own"])
def test_classifiers_of_guided_diffusion_get_the_networks_times(takes: bool, way: str, denoiser: Denoiser) -> None:
    """Under a rescaled schedule of 4,000 times: in gradients, and in the suite `noisy-accuracy`."""
    clock = Clock(6, takes)
    classifier = tiled(TimeConditionedClassifier(clock, denoised=True))
    rescaled = Denoiser(denoiser.network, cosine(4000).rescaled())
    batch_views, labels = diffused(rescaled)
    views = batch_views.diffused(TIME)
    if way == "accuracy":
        suite = plugins.suite.configure(f"noisy-accuracy:times={TIME}").plugin
        pair = Pair("clock", "default", classifier, plugins.method.configure("default").plugin, Weights("", "", ""))
        task = BatchTask(suite.conditions()[-1], batch_views, labels, [pair], [None])
        assert (suite.columns_of(task, pair)["time"] == TIME).all(), "the table has the schedule's index"
    else:
        assert DiffusedGradients(classifier, views, labels).of(way) is not None
    seen = torch.cat(clock.seen)
    assert (seen == (TIME * 1000 / 4000 if takes else TIME)).all() and seen.is_floating_point() == takes


def test_views_without_a_denoiser_have_no_derivative() -> None:
    views: Any = Diffused(images(1), torch.tensor([3]), lambda: images(1))
    with pytest.raises(HarnessError, match="needs a diffusion model"):
        views.pulled_back(images(1), Tiles(1))
