"""Schedules, one-step denoising and diffusion-driven adaptation."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from small_denoisers import SHORT, Analytic, gaussian_data, images, normal, random_unet
from torch import Tensor

from harness import plugins
from harness.diffusion.adaptation import adapt, guided_step, low_pass, low_pass_matrix, resize_matrix
from harness.diffusion.denoiser import Denoiser
from harness.diffusion.sampling import log_variance
from harness.diffusion.schedule import Schedule, cosine, linear
from harness.types import Adaptation, HarnessError


@pytest.mark.parametrize(
    ("t", "expected"),
    [
        (50, (0.984861, 0.173345, 1.015372, 0.176010)),
        (150, (0.886503, 0.462723, 1.128028, 0.521965)),
        (450, (0.354738, 0.934966, 2.818984, 2.635654)),
        (700, (0.082875, 0.996560, 12.066353, 12.024844)),
        (999, (0.006353, 0.999980, 157.410, 157.407)),
    ],
)
def test_linear_schedule_has_the_values_of_guided_diffusion(t: int, expected: tuple[float, ...]) -> None:
    abar = linear().alpha_bar[t]
    found = (abar**0.5, (1 - abar) ** 0.5, (1 / abar) ** 0.5, (1 / abar - 1) ** 0.5)
    assert found == pytest.approx(expected, abs=5.1e-7, rel=4e-6 if t == 999 else 0)


def test_schedules_agree_with_diffusers() -> None:
    """As far as diffusers' float32 tables go."""
    from diffusers import DDPMScheduler

    for ours, theirs in ((linear(), "linear"), (cosine(), "squaredcos_cap_v2")):
        scheduler = DDPMScheduler(beta_start=1e-4, beta_end=0.02, beta_schedule=theirs)
        np.testing.assert_allclose(ours.betas, scheduler.betas.numpy(), rtol=0, atol=6e-8)
        np.testing.assert_allclose(ours.alpha_bar, scheduler.alphas_cumprod.numpy(), rtol=0, atol=1e-6)


def test_cosine_schedule_is_the_papers() -> None:
    schedule = cosine()
    edges = np.cos((np.array([0.0, 0.5]) + 0.008) / 1.008 * np.pi / 2) ** 2
    assert schedule.alpha_bar[499] == pytest.approx(edges[1] / edges[0], rel=1e-12)
    assert schedule.betas[-1] == 0.999


def test_a_shorter_linear_schedule_ends_in_the_same_noise() -> None:
    assert linear(250).betas[[0, -1]] == pytest.approx([4e-4, 0.08])
    assert np.log(linear(250).alpha_bar[-1]) == pytest.approx(np.log(linear().alpha_bar[-1]), rel=0.05)


def test_respacing_to_100_steps_is_guided_diffusions() -> None:
    times = linear().respaced(100).times.tolist()
    assert times[:9] == [0, 10, 20, 30, 40, 50, 61, 71, 81]
    assert times[48:52] == [484, 494, 505, 515]
    assert times[-3:] == [979, 989, 999]


def test_respacing_accumulates_the_stride() -> None:
    """An evenly spaced grid rounds exact halves otherwise for 278 odd lengths, and for no even one nor for 25."""
    schedule = linear()
    different = [
        steps
        for steps in range(2, 1001)
        if (schedule.respaced(steps).times != np.linspace(0, 999, steps).round()).any()
    ]
    assert len(different) == 278
    assert different[:7] == [21, 23, 31, 35, 39, 43, 45]
    assert all(steps % 2 for steps in different)
    assert 25 not in different


def test_respaced_schedule_is_the_same_process() -> None:
    schedule = linear()
    respaced = schedule.respaced(37)
    np.testing.assert_allclose(respaced.alpha_bar, schedule.alpha_bar[respaced.times], rtol=1e-12)
    again = schedule.respaced(1000)
    np.testing.assert_array_equal(again.times, schedule.times)
    np.testing.assert_allclose(again.betas, schedule.betas, rtol=0, atol=2e-16)


@pytest.mark.parametrize("steps", [0, 1, 1001])
def test_impossible_respacing_is_refused(steps: int) -> None:
    with pytest.raises(HarnessError, match=str(steps)):
        linear().respaced(steps)


def test_posterior_is_bayes_rule() -> None:
    """q(x_{t-1} | x_t, x_0) by completing the square, instead of by the paper's closed form."""
    schedule, t = linear(), 300
    before, beta = schedule.alpha_bar[t - 1], schedule.betas[t]
    precision = (1 - beta) / beta + 1 / (1 - before)
    of_x0, of_xt = schedule.posterior_mean
    assert schedule.posterior_variance[t] == pytest.approx(1 / precision, rel=1e-9)
    assert of_xt[t] == pytest.approx((1 - beta) ** 0.5 / beta / precision, rel=1e-9)
    assert of_x0[t] == pytest.approx(before**0.5 / (1 - before) / precision, rel=1e-9)
    assert schedule.posterior_log_variance[0] == schedule.posterior_log_variance[1]


def test_learned_variance_lies_between_the_posteriors_and_beta() -> None:
    schedule, index = linear(), torch.tensor([300])
    low, high = schedule.posterior_log_variance[300], np.log(schedule.betas[300])
    for v, expected in ((-1.0, low), (1.0, high), (0.0, (low + high) / 2), (2.0, low + 1.5 * (high - low))):
        assert log_variance(schedule, index, torch.full((1, 3, 1, 1), v)).mean() == pytest.approx(expected, rel=1e-6)
    assert log_variance(schedule, index, None).item() == pytest.approx(low, rel=1e-6)


@pytest.mark.parametrize("t", [0, 50, 450, 700])
def test_known_noise_gives_the_image_back(t: int) -> None:
    clean, noise, times = images(2), normal(2, 3, 16, 16), torch.tensor([t, t])
    denoiser = Denoiser(Analytic(lambda x, t: noise), linear())
    x_t = denoiser.diffuse(clean, times, noise)
    assert (denoiser.predict_x0(x_t, times) - clean).abs().max() < 1e-6 * max(1, linear().alpha_bar[t] ** -0.5)


def test_one_step_denoising_is_the_conditional_mean() -> None:
    """Of Gaussian data, in closed form and float64; a different time in every row."""
    spread, times = 0.3, torch.tensor([0, 50, 450, 700, 999])
    denoiser, clean, noise = gaussian_data(spread), images(5), normal(5, 3, 16, 16)
    abar = torch.from_numpy(denoiser.schedule.alpha_bar)[times][:, None, None, None]
    x_t = abar**0.5 * (clean.double() * 2 - 1) + (1 - abar) ** 0.5 * noise
    mean = spread**2 * abar**0.5 / (abar * spread**2 + 1 - abar) * x_t
    found = denoiser.diffuse(clean, times, noise)
    assert (found - x_t).abs().max() < 1e-6
    # Where little of the image is left, the noise's rounding is multiplied by sqrt(1/abar - 1), up to 157.
    error = (denoiser.predict_x0(found, times) - (mean.clamp(-1, 1) + 1) / 2).abs()
    assert (error < 5e-7 * abar**-0.5).all()


@pytest.mark.parametrize(
    "schedule",
    [linear().respaced(50), replace(cosine(4000), times=np.arange(4000) * 0.25)],
    ids=["respaced", "times of its own"],
)
def test_the_network_is_asked_at_its_own_time(schedule: Schedule) -> None:
    """Whoever asks, at an index that is not the network's time; two smoothers of one step are the same."""
    asked: list[Tensor] = []

    def predict(x: Tensor, t: Tensor) -> Tensor:
        asked.append(t)
        return x * (t / 2000)[:, None, None, None].float()

    denoiser, sigma = Denoiser(Analytic(predict), schedule), 0.5
    index = schedule.time_of(sigma)
    assert schedule.times[index] != index
    plain, once = (
        plugins.smoother.configure(name).plugin(images(2), sigma, denoiser, lambda _: normal(2, 3, 16, 16), 0)
        for name in ("denoise", "denoise-vote:votes=1,steps=1")
    )
    assert (plain - once).abs().max() < 1e-6
    adapt(denoiser, images(1), SHORT, lambda k: normal(1, 3, 16, 16, seed=k), torch.ones(1))
    expected = [schedule.times[index]] * 2 + list(schedule.respaced(10).times[[2, 1, 0]])
    assert [float(t[0]) for t in asked] == expected


def test_predictions_are_clipped_and_variance_channels_ignored() -> None:
    denoiser = Denoiser(Analytic(lambda x, t: torch.cat([-9 * torch.ones_like(x), x], 1)), linear())
    assert (denoiser.predict_x0(normal(2, 3, 16, 16), torch.tensor([700, 700])) == 1).all()


def test_times_outside_the_schedule_are_refused() -> None:
    denoiser = gaussian_data(1.0)
    denoiser.check_times((0, 999))
    for t in (-1, 1000):
        with pytest.raises(HarnessError, match=str(t)):
            denoiser.check_times((t,))


@pytest.mark.parametrize("side", [32, 64])
def test_borders_are_pulled_to_grey(side: int) -> None:
    """A constant 0.7, measured with the authors' code: 0.646 at the edge and 0.596 in the corner of the small image."""
    down = resize_matrix(side, side // 4)
    small = down @ np.full((side, side), 0.7) @ down.T
    assert small[0, side // 8] == pytest.approx(0.646, abs=5e-4)
    assert small[0, 0] == pytest.approx(0.596, abs=5e-4)
    filtered = low_pass(torch.full((1, 3, side, side), 0.7), 4)
    assert filtered[0, 0, 0, side // 2].item() == pytest.approx(0.418, abs=5e-4)
    assert filtered[0, 0, side // 2, side // 2].item() == pytest.approx(0.7, abs=1e-6)


@pytest.mark.parametrize(("size", "target", "border"), [(64, 16, 2), (16, 64, 6), (60, 20, 2), (64, 64, 0)])
def test_interior_is_antialiased_bicubic(size: int, target: int, border: int) -> None:
    matrix, picture = torch.from_numpy(resize_matrix(size, target)), images(1, size).double()
    theirs = F.interpolate(picture, size=(target, target), mode="bicubic", antialias=True)
    interior = slice(border, target - border)
    difference = (matrix @ picture @ matrix.T - theirs).abs()[..., interior, interior]
    assert difference.max() < 1e-12


def test_low_pass_is_float32_whatever_the_autocast() -> None:
    picture = normal(1, 3, 32, 32)
    with torch.autocast("cpu", torch.bfloat16):
        within = low_pass(picture, 4)
    assert torch.equal(within, low_pass(picture, 4))


def test_low_pass_of_oblong_images_filters_each_axis_with_its_own_matrix() -> None:
    picture = normal(2, 3, 16, 24)
    expected = torch.einsum("hk,bckl,wl->bchw", low_pass_matrix(16, 4), picture, low_pass_matrix(24, 4))
    torch.testing.assert_close(low_pass(picture, 4), expected)


def step(denoiser: Denoiser, x: Tensor, reference: Tensor, real: Tensor | None = None, **settings: Any) -> Tensor:
    """Guided step from index 5 of 10 without noise."""
    real = torch.ones(len(x)) if real is None else real
    chosen = Adaptation(steps=10, start=6, factor=2, **settings)
    return guided_step(denoiser, denoiser.schedule.respaced(10), x, 5, reference, chosen, torch.zeros_like(x), real)


def gradient(denoiser: Denoiser, x: Tensor, reference: Tensor, norm: str, real: Tensor | None = None) -> Tensor:
    """The guidance alone, a thousand times, so that the rounding of what it is subtracted from does not count."""
    free, guided = (step(denoiser, x, reference, real, scale=scale, norm=norm) for scale in (0.0, 1000.0))
    return free - guided


def test_guided_step_in_closed_form() -> None:
    """With a linear denoiser x_0 = k x_t, the gradient of |L(r - k x)| is -k L'L(r - k x) / |L(r - k x)|."""
    denoiser, spread = gaussian_data(0.3), 0.3
    schedule, position = denoiser.schedule.respaced(10), 5
    x, reference, noise = normal(2, 3, 16, 16), images(2) * 2 - 1, normal(2, 3, 16, 16, seed=1)
    found = guided_step(denoiser, schedule, x, position, reference, SHORT, noise, torch.ones(2))

    abar, (of_x0, of_xt) = schedule.alpha_bar[position], schedule.posterior_mean
    k = spread**2 * abar**0.5 / (abar * spread**2 + 1 - abar)
    assert (k * x).abs().max() < 1  # nothing is clipped
    matrix = resize_matrix(8, 16) @ resize_matrix(16, 8)
    for row in range(2):
        x64, r64, n64 = (tensor[row].double().numpy() for tensor in (x, reference, noise))
        residual = matrix @ (r64 - k * x64) @ matrix.T
        slope = -k * (matrix.T @ residual @ matrix) / np.sqrt((residual**2).sum())
        mean = of_x0[position] * k * x64 + of_xt[position] * x64
        expected = mean + schedule.posterior_variance[position] ** 0.5 * n64 - SHORT.scale * slope
        np.testing.assert_allclose(found[row].numpy(), expected, rtol=0, atol=2e-6)


def test_no_gradient_passes_a_clipped_prediction() -> None:
    denoiser = Denoiser(Analytic(lambda x, t: torch.zeros_like(x)), linear())
    x = torch.full((1, 3, 16, 16), 5.0)
    assert (gradient(denoiser, x, torch.zeros_like(x), "sample") == 0).all()


def test_unguided_steps_are_diffusers_ancestral_sampler() -> None:
    from diffusers import DDPMScheduler

    denoiser = random_unet(out_channels=6)
    schedule, x = denoiser.schedule.respaced(100), normal(2, 3, 16, 16)
    scheduler = DDPMScheduler(beta_start=1e-4, beta_end=0.02, variance_type="learned_range", clip_sample=True)
    scheduler.set_timesteps(timesteps=schedule.times[::-1].tolist())
    for position in (99, 49, 10, 0):
        time = int(schedule.times[position])
        output = denoiser.network(x, time, return_dict=False)[0]
        theirs = scheduler.step(output, time, x, generator=torch.Generator().manual_seed(0)).prev_sample
        ours = guided_step(
            denoiser, schedule, x, position, x, Adaptation(scale=0.0), normal(2, 3, 16, 16), torch.ones(2)
        )
        torch.testing.assert_close(ours, theirs, rtol=0, atol=3e-5)


def test_a_norm_per_sample_leaves_neighbours_alone() -> None:
    denoiser, x, reference = gaussian_data(0.3), normal(4, 3, 16, 16), images(4) * 2 - 1
    together = step(denoiser, x, reference)
    for row in range(4):
        alone = step(denoiser, x[row : row + 1], reference[row : row + 1])
        torch.testing.assert_close(together[row : row + 1], alone, rtol=0, atol=1e-6)
    # The same with a norm over four is not so, which is why it is a choice.
    shared = step(denoiser, x, reference, norm="batch4")
    assert (shared - together).abs().max() > 1e-3


def test_four_equal_images_under_one_norm_are_guided_half_as_much() -> None:
    """|(d, d, d, d)| = 2 |d|, so that the gradient for each is halved."""
    denoiser = gaussian_data(0.3)
    x, reference = normal(1, 3, 16, 16).repeat(4, 1, 1, 1), (images(1) * 2 - 1).repeat(4, 1, 1, 1)
    own, shared = (gradient(denoiser, x, reference, norm) for norm in ("sample", "batch4"))
    assert own.abs().max() > 1
    torch.testing.assert_close(shared, own / 2, rtol=0, atol=2e-6)


def test_padding_does_not_enter_a_shared_norm() -> None:
    denoiser, x, reference = gaussian_data(0.3), normal(8, 3, 16, 16), images(8) * 2 - 1
    real = torch.tensor([1.0, 1, 1, 0, 0, 0, 0, 0])
    found = gradient(denoiser, x, reference, "batch4", real)[:3]
    x[3:] += 1
    assert torch.equal(found, gradient(denoiser, x, reference, "batch4", real)[:3])
    # A group of padding alone has norm zero, whose gradient is taken to be zero.
    assert (gradient(denoiser, x, reference, "batch4", torch.zeros(8)) == 0).all()


def test_adaptation_brings_an_image_closer_to_the_data_but_keeps_its_low_frequencies() -> None:
    """Data: one flat picture per row and channel, N(0, 0.5^2). Input: such a picture plus strong fine noise."""
    spread, schedule = 0.5, linear()

    def predict(x: Tensor, t: Tensor) -> Tensor:
        abar = torch.from_numpy(schedule.alpha_bar)[t].float()[:, None, None, None]
        mean = x.mean((2, 3), keepdim=True)
        pixels = x[0, 0].numel()
        flat = abar**0.5 * spread**2 / (abar * spread**2 + (1 - abar) / pixels) * mean
        return (x - abar**0.5 * flat) / (1 - abar) ** 0.5

    flat = torch.tensor([0.2, 0.5, 0.8]).expand(2, 3)[:, :, None, None].expand(2, 3, 16, 16)
    corrupted = (flat + 0.15 * normal(2, 3, 16, 16)).clamp(0, 1)
    settings = Adaptation(steps=20, start=10)
    denoiser = Denoiser(Analytic(predict), schedule)
    adapted = adapt(denoiser, corrupted, settings, lambda k: normal(2, 3, 16, 16, seed=k), torch.ones(2))
    unguided = adapt(
        denoiser, corrupted, Adaptation(20, 10, scale=0.0), lambda k: normal(2, 3, 16, 16, seed=k), torch.ones(2)
    )
    assert 0 <= adapted.min() <= adapted.max() <= 1
    assert (unguided - flat).std() < 0.5 * (corrupted - flat).std()
    distance = [low_pass(picture - corrupted, 4).norm() for picture in (adapted, unguided)]
    assert distance[0] < distance[1]


@pytest.mark.parametrize(
    "wrong", [{"norm": "batch"}, {"start": 0}, {"start": 100}, {"factor": 0}, {"scale": -1.0}], ids=str
)
def test_settings_out_of_range_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(HarnessError, match=str(next(iter(wrong.values())))):
        Adaptation(**wrong)
