"""Samples in tiles: they depend on their ids and classes, and their time is foretold from two kinds of steps."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from small_denoisers import gaussian_data
from torch import Tensor

from harness import plugins
from harness.diffusion import guided_sampler
from harness.diffusion.guided import BaseGuide, Guidance, SamplingStep, trajectory
from harness.diffusion.guided_sampler import GuidedSampler, check_interval
from harness.models.tiles import Tiles
from harness.types import HarnessError, Sampling


class Bright:
    """Log-odds of the second class: the sum over all pixels."""

    def __call__(self, images: Tensor) -> Tensor:
        total = images.flatten(1).sum(1)
        return torch.stack([-total, total], 1)


def sampler(guide: str = "denoised:scale=0.1,interval=200,400", tile: int = 2, **settings: Any) -> GuidedSampler:
    built = plugins.guide.configure(guide).plugin
    chosen = Sampling(**{"steps": "ddim5", "eta": 1.0, **settings})
    return GuidedSampler(gaussian_data(0.5), built, Bright(), chosen, (3, 4, 4), 7, Tiles(tile))


def test_samples_are_a_function_of_their_ids_and_classes() -> None:
    ids, labels = [f"sample/{number:06d}" for number in range(5)], torch.tensor([0, 1, 0, 1, 1])
    whole = sampler()(ids, labels)
    assert whole.shape == (5, 3, 4, 4) and whole.dtype == torch.uint8
    assert torch.equal(sampler()(ids[3:], labels[3:]), whole[3:])
    assert not torch.equal(sampler()(ids, 1 - labels), whole)


def test_progress_rises_to_the_whole() -> None:
    shares: list[float] = []
    sampler()(["a", "b", "c"], torch.tensor([0, 1, 0]), shares.append)
    assert len(shares) == 10 and shares[4] == pytest.approx(2 / 3) and shares[-1] == 1
    assert shares == sorted(shares)


def test_a_step_alone_is_that_of_the_trajectory() -> None:
    one, x, labels = (
        sampler(eta=0.0),
        torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(0)),
        torch.ones(2),
    )
    before = x
    for number, after in enumerate(
        trajectory(one.denoiser, one.guide, one.network, x, labels.long(), one.settings, torch.zeros_like)
    ):
        assert torch.equal(one.step(number, before, labels.long()), after)
        before = after


def test_steps_with_the_guide_and_without_are_timed_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of times 0, 200, ..., 800 the guide acts at 200 alone, the fourth step."""
    clock = [0.0]

    def step(self: GuidedSampler, number: int, x: Tensor, labels: Tensor) -> Tensor:
        clock[0] += 10 if number == 3 else 1
        return x

    monkeypatch.setattr(GuidedSampler, "step", step)
    monkeypatch.setattr(guided_sampler.time, "perf_counter", lambda: clock[0])
    assert sampler().acting == [3]
    assert sampler().seconds(2) == 10 + 4 * 1


class Twice(BaseGuide):
    """A guide that asks the denoiser twice where it acts."""

    def __call__(self, step: SamplingStep, network: Any) -> Guidance:
        return [step.predict(None) for _ in range(1 + self.acts(step))][-1]


def test_calls_of_any_guide_are_those_that_reach_the_denoiser() -> None:
    one = replace(sampler(), guide=Twice(interval=(200, 601)))
    rows: list[int] = []
    one.denoiser.network.register_forward_pre_hook(lambda _, args: rows.append(len(args[0])))
    one(["a", "b"], torch.tensor([0, 1]))
    assert sum(rows) == 2 * one.denoiser_calls(2) == 2 * (5 + 3)


def test_an_interval_without_times_is_refused() -> None:
    one = sampler("denoised:interval=201,399")
    with pytest.raises(
        HarnessError, match="interval=201,399: its interval holds none of the sampler's 5 times, 0 to 800"
    ):
        check_interval(one.guide, one.times)
    check_interval(sampler().guide, one.times)
