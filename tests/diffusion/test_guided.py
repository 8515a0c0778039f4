"""Samplers and guides against a slow plain computation in float64, and the original's respacings."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from harness import plugins
from harness.diffusion.denoiser import Denoiser
from harness.diffusion.guided import SamplingStep, pixels, sample_noise, trajectory
from harness.diffusion.schedule import Schedule, cosine, linear, name_of
from harness.models.classifier import TimeConditionedClassifier
from harness.models.matching import reordered
from harness.types import HarnessError, Sampling

ORIGINAL: dict[str, list[int]] = {
    "10": [0, 111, 222, 333, 444, 555, 666, 777, 888, 999],
    "25": [0, 42, 83, 125, 166, 208, 250, 291, 333, 375, 416, 458, 500, 541, 583, 624, 666, 708, 749, 791, 832, 874,
           916, 957, 999],
    "ddim10": list(range(0, 1000, 100)),
    "ddim25": list(range(0, 1000, 40)),
    "ddim50": list(range(0, 1000, 20)),
}  # fmt: skip
"""Respacings of 1000 times by guided-diffusion's `space_timesteps`."""

SUMS = {"100": (100, 49950), "250": (250, 124875), "ddim250": (250, 124500)}
"""Of longer ones, the number of times and their sum."""


@pytest.mark.parametrize("steps", ORIGINAL)
def test_respacings_are_those_of_the_original(steps: str) -> None:
    assert linear().spaced(steps) == ORIGINAL[steps]


@pytest.mark.parametrize("steps", SUMS)
def test_long_respacings_are_those_of_the_original(steps: str) -> None:
    times = linear().spaced(steps)
    assert (len(times), sum(times)) == SUMS[steps] and all(a < b for a, b in pairwise(times))


class Wave(nn.Module):
    """A noise prediction that can be computed by hand, one number at a time."""

    def __init__(self, learned: bool = False, classes: int = 0) -> None:
        super().__init__()
        self.learned = learned
        self.class_embedding = nn.Embedding(classes, 1) if classes else None

    def forward(self, x: Tensor, t: Tensor, return_dict: bool, class_labels: Tensor | None = None) -> tuple[Tensor]:
        label = torch.zeros(len(x)) if class_labels is None else class_labels
        shift = (t / 1000 + label.to(x.dtype) / 5)[:, None, None, None]
        noise = torch.sin(2 * x + shift)
        return (torch.cat([noise, torch.cos(3 * x + shift)], 1) if self.learned else noise,)


def eps_of(x: float, t: int, label: int = 0) -> float:
    return math.sin(2 * x + t / 1000 + label / 5)


def eps_slope(x: float, t: int) -> float:
    return 2 * math.cos(2 * x + t / 1000)


def v_of(x: float, t: int) -> float:
    return math.cos(3 * x + t / 1000)


class Quadratic(nn.Module):
    """Two classes: log p(1) of one number z is log sigmoid(z - 0.3), summed over pixels."""

    denoised = True

    def forward(self, images: Tensor) -> Tensor:
        z = (images * 2 - 1 - 0.3).flatten(1).sum(1)
        return torch.stack([torch.zeros_like(z), z], 1)

    def noisy(self, x_t: Tensor, x0_hat: Tensor | None, t: Tensor) -> Tensor:
        assert x0_hat is not None
        z = (x_t + (x0_hat * 2 - 1) - 0.3).flatten(1).sum(1)
        return torch.stack([torch.zeros_like(z), z], 1)


class NoisyOnly(Quadratic):
    """The same of x_t alone."""

    denoised = False

    def noisy(self, x_t: Tensor, x0_hat: Tensor | None, t: Tensor) -> Tensor:
        assert x0_hat is None
        z = (x_t - 0.3).flatten(1).sum(1)
        return torch.stack([torch.zeros_like(z), z], 1)


BETAS = [1e-4 + (0.02 - 1e-4) * k / 999 for k in range(1000)]


def abar(time: int) -> float:
    """Product of 1 - beta up to a time; 1 before the first."""
    return math.prod(1 - beta for beta in BETAS[: time + 1])


def x0_of(x: float, t: int, eps: float) -> float:
    return max(-1.0, min(1.0, x / math.sqrt(abar(t)) - math.sqrt(1 / abar(t) - 1) * eps))


def by_hand(
    xs: list[float], times: list[int], settings: Sampling, learned: bool, guide: str, noise: Tensor
) -> list[float]:
    """Pixels of one image after a whole trajectory, from the formulas: Ho et al., eq. 7; Song et al., eq. 12; Dhariwal
    & Nichol, algorithms 1 and 2. noise: (step, pixel).
    """
    for step, place in enumerate(reversed(range(len(times)))):
        t, before = times[place], abar(times[place - 1]) if place else 1.0
        eps = [eps_of(x, t) for x in xs]
        x0 = [x0_of(x, t, e) for x, e in zip(xs, eps, strict=True)]
        g = gradient(xs, x0, t, guide)
        pairs = zip(xs, x0, g, noise[step].tolist(), strict=True)
        if settings.sampler == "ddim":
            eta = settings.eta if place else 0.0
            xs = [ddim(x, o, s, z, abar(t), before, eta) for x, o, s, z in pairs]
        else:
            one_before = times[:2] if not place else times[place - 1 : place + 1]
            xs = [ancestral(x, o, s, z, t, before, settings, learned, not place, one_before) for x, o, s, z in pairs]
    return xs


def gradient(xs: list[float], x0: list[float], t: int, guide: str) -> list[float]:
    """Of 3 log p(1), by the chain rule; the clipped x0 passes no gradient."""
    if guide == "none":
        return [0.0] * len(xs)
    seen = {"noisy": xs, "partial": [x + o for x, o in zip(xs, x0, strict=True)], "denoised": x0}
    seen["total"] = seen["partial"]
    z = sum(value - 0.3 for value in seen[guide])
    outer = 3 * (1 - 1 / (1 + math.exp(-z)))
    slopes = []
    for x, o in zip(xs, x0, strict=True):
        inner = 0.0 if abs(o) == 1 else 1 / math.sqrt(abar(t)) - math.sqrt(1 / abar(t) - 1) * eps_slope(x, t)
        slopes.append({"noisy": 1.0, "partial": 1.0, "total": 1 + inner, "denoised": inner}[guide])
    return [outer * slope for slope in slopes]


def ddim(x: float, x0: float, g: float, z: float, now: float, before: float, eta: float) -> float:
    eps = (x - math.sqrt(now) * x0) / math.sqrt(1 - now) - math.sqrt(1 - now) * g
    x0 = (x - math.sqrt(1 - now) * eps) / math.sqrt(now)
    sigma = eta * math.sqrt((1 - before) / (1 - now)) * math.sqrt(1 - now / before)
    return math.sqrt(before) * x0 + math.sqrt(1 - before - sigma**2) * eps + sigma * z


def ancestral(
    x: float, x0: float, g: float, z: float, t: int, before: float, settings: Sampling, learned: bool, last: bool,
    pair: list[int],
) -> float:  # fmt: skip
    """pair: the last two times, from which the variances stand in for those of index 0."""
    now = abar(t)
    beta = 1 - now / before
    small = beta * (1 - before) / (1 - now)
    mean = (math.sqrt(before) * beta * x0 + math.sqrt(now / before) * (1 - before) * x) / (1 - now)
    low, high = abar(pair[1]), abar(pair[0])
    next_beta = 1 - low / high
    next_small = next_beta * (1 - high) / (1 - low)
    if learned and settings.variance in ("auto", "learned"):
        share = (v_of(x, t) + 1) / 2
        variance = math.exp(share * math.log(beta) + (1 - share) * math.log(next_small if last else small))
    elif settings.variance == "fixed_large":
        variance = next_small if last else beta
    else:
        variance = small
    return mean + variance * g + (0.0 if last else math.sqrt(variance) * z)


@pytest.mark.parametrize("guide", ["none", "noisy", "partial", "total", "denoised"])
@pytest.mark.parametrize(
    "settings, learned",
    [
        (Sampling("ddim", "ddim5"), False),
        (Sampling("ddim", "5", eta=0.7), True),
        (Sampling("ancestral", "5"), False),
        (Sampling("ancestral", "5"), True),
        (Sampling("ancestral", "ddim5", variance="fixed_small"), True),
        (Sampling("ancestral", "5", variance="fixed_large"), False),
    ],
    ids=str,
)
def test_trajectories_are_those_of_the_formulas(settings: Sampling, learned: bool, guide: str) -> None:
    texts = {"none": "none", "denoised": "denoised:scale=3", "partial": "classifier:scale=3,through=partial"}
    built = plugins.guide.configure(texts.get(guide, "classifier:scale=3")).plugin
    network = NoisyOnly() if guide == "noisy" else Quadratic()
    rng = torch.Generator().manual_seed(3)
    x = torch.randn(2, 3, 1, 1, generator=rng, dtype=torch.float64)
    noise = torch.randn(5, 2, 3, 1, 1, generator=rng, dtype=torch.float64)
    denoiser = Denoiser(Wave(learned), linear())
    *_, ours = trajectory(denoiser, built, network, x, torch.tensor([1, 1]), settings, lambda step: noise[step])
    for row in range(2):
        theirs = by_hand(
            x[row].flatten().tolist(),
            linear().spaced(settings.steps),
            settings,
            learned,
            guide,
            noise[:, row].flatten(1),
        )
        assert ours[row].flatten().tolist() == pytest.approx(theirs, abs=1e-9)


def test_classifier_free_guidance_extrapolates_the_noise() -> None:
    denoiser = Denoiser(Wave(classes=4), linear(), null_label=3)
    x = torch.randn(2, 3, 1, 1, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    labels = torch.tensor([1, 2])
    times = linear().spaced("ddim5")
    step = SamplingStep(denoiser, linear().at(times), 2, times[2], x, labels)
    guidance = plugins.guide.configure("cfg:scale=2.5").plugin(step, None)
    for row in range(2):
        for value, eps in zip(x[row].flatten().tolist(), guidance.noise[row].flatten().tolist(), strict=True):
            free = eps_of(value, times[2], 3)
            assert eps == pytest.approx(free + 2.5 * (eps_of(value, times[2], int(labels[row])) - free), abs=1e-12)
    assert guidance.gradient is None


def test_a_guide_is_silent_outside_its_interval() -> None:
    denoiser, network = Denoiser(Wave(), linear()), NoisyOnly()
    times = linear().spaced("ddim5")
    x = torch.zeros(1, 3, 1, 1)
    guide = plugins.guide.configure("classifier:interval=200,400").plugin
    gradients = []
    for place, time in enumerate(times):
        step = SamplingStep(denoiser, linear().at(times), place, time, x, torch.tensor([1]))
        gradients.append(guide(step, network).gradient is not None)
    assert dict(zip(times, gradients, strict=True)) == {0: False, 200: True, 400: False, 600: False, 800: False}


def test_the_times_that_networks_see_are_the_originals() -> None:
    """Of a respaced process, network and classifier see the time of the whole one."""
    seen: list[tuple[int, int]] = []

    class Watch(NoisyOnly):
        def noisy(self, x_t: Tensor, x0_hat: Tensor | None, t: Tensor) -> Tensor:
            seen[-1] = (seen[-1][0], int(t[0]))
            return super().noisy(x_t, x0_hat, t)

    denoiser = Denoiser(Wave(), linear())
    denoiser.network.register_forward_pre_hook(lambda _, args: seen.append((int(args[1][0]), -1)))
    guide = plugins.guide.configure("classifier").plugin
    x = torch.zeros(1, 3, 1, 1)
    list(trajectory(denoiser, guide, Watch(), x, torch.tensor([1]), Sampling(steps="ddim25"), lambda step: x))
    assert seen == [(t, t) for t in range(960, -1, -40)]


class Clock(nn.Module):
    """A body that notes the times it is given. takes_network_times: as of guided-diffusion's classifiers."""

    def __init__(self, takes_network_times: bool) -> None:
        super().__init__()
        self.takes_network_times = takes_network_times
        self.seen: list[Tensor] = []

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        self.seen.append(t)
        return x.flatten(1)


@pytest.mark.parametrize("order", [[0, 1, 2], [2, 0, 1]], ids=["as it is", "reordered"])
@pytest.mark.parametrize("schedule", [cosine(4000).rescaled(), linear()], ids=["rescaled cosine", "linear"])
@pytest.mark.parametrize("original", [True, False], ids=["OpenAI's", "own"])
def test_classifiers_of_guided_diffusion_get_the_networks_times(
    original: bool, schedule: Schedule, order: list[int]
) -> None:
    """Its `cond_fn` is given the scaled times of the diffusion model's network; other classifiers know indices."""
    clock = Clock(original)
    network = reordered(TimeConditionedClassifier(clock, denoised=False), order)
    guide = plugins.guide.configure("classifier").plugin
    x, steps = torch.zeros(2, 3, 1, 1), Sampling(steps="5")
    list(trajectory(Denoiser(Wave(), schedule), guide, network, x, torch.tensor([1, 1]), steps, lambda step: x))
    times = torch.tensor(list(reversed(schedule.spaced("5"))))
    expected = times * (1000 / 4000) if original and len(schedule.betas) == 4000 else times
    seen = torch.stack(clock.seen)
    assert seen.dtype == expected.dtype and torch.equal(seen, expected[:, None].expand(-1, 2))


def test_a_classifier_of_another_noise_schedule_is_refused() -> None:
    guide = plugins.guide.configure("classifier").plugin
    body = Clock(False)

    def check(stated: tuple[str, int] | None, schedule: Schedule) -> None:
        network = TimeConditionedClassifier(body, denoised=False, noise_schedule=stated)
        guide.check("mine", reordered(network, [2, 0, 1]), Denoiser(Wave(), schedule))

    unnamed = Schedule(linear().betas * 1.1, linear().times)
    assert [name_of(s) for s in (linear(), cosine(4000).rescaled(), unnamed)] == [
        ("linear", 1000), ("cosine", 4000), None,
    ]  # fmt: skip
    check(("linear", 1000), linear())
    check(("cosine", 4000), cosine(4000).rescaled())
    check(("linear", 1000), unnamed)
    check(None, cosine())
    for stated, schedule in ((("linear", 1000), cosine()), (("cosine", 1000), cosine(4000))):
        with pytest.raises(HarnessError, match=r"mine was trained with the noise schedule .* of 1,000 times, this den"):
            check(stated, schedule)


def test_noise_is_keyed_by_seed_sample_and_step() -> None:
    one = sample_noise((3, 2, 2), 5, ["sample/000001", "sample/000002"], None)
    alone = sample_noise((3, 2, 2), 5, ["sample/000002"], None)
    assert torch.equal(one[1:], alone)
    others = [sample_noise((3, 2, 2), seed, ["sample/000002"], step) for seed, step in ((6, None), (5, 0), (5, 1))]
    assert len({tuple(each.flatten().tolist()) for each in [alone, *others]}) == 4


def test_pixels_are_truncated() -> None:
    x = torch.tensor([-2.0, -1.0, -1 + 1.9 / 127.5, 0.0, 1.0, 3.0])
    assert pixels(x).tolist() == [0, 0, 1, 127, 255, 255] and pixels(x).dtype == torch.uint8


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"sampler": "euler"}, "must be one of ddim, ancestral"),
        ({"steps": "ddim"}, "give a number such as 250"),
        ({"steps": "0"}, "give a number such as 250"),
        ({"steps": "-5"}, "give a number such as 250"),
        ({"eta": 1.5}, "must lie between 0 and 1"),
        ({"eta": float("nan")}, "must lie between 0 and 1"),
        ({"variance": "large"}, "must be one of auto, learned"),
    ],
)
def test_settings_that_mean_nothing_are_refused(settings: Any, message: str) -> None:
    with pytest.raises(HarnessError, match=message):
        Sampling(**settings)


@pytest.mark.parametrize("scale", [np.nan, np.inf, -np.inf])
def test_a_scale_must_be_finite(scale: float) -> None:
    guide: Any = plugins.guide["classifier"].build
    with pytest.raises(HarnessError, match="must be a finite number"):
        guide(scale=scale)
    with pytest.raises(HarnessError, match="give two times"):
        guide(interval=(500, 200))


@pytest.mark.parametrize("steps", ["1", "ddim1"])
def test_a_single_step_is_refused(steps: str) -> None:
    with pytest.raises(HarnessError, match=f"steps={steps}: one step .* Give 2 or more"):
        Sampling(steps=steps)
