"""The derivative of denoisers along directions, against the dense matrix and closed forms."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from small_denoisers import Analytic, images, normal, random_unet
from torch import Tensor

from harness.diffusion.analysis.jacobian import Jacobian, asymmetry, leading
from harness.diffusion.analysis.mixture import GaussianMixture
from harness.diffusion.denoiser import Denoiser
from harness.diffusion.schedule import linear
from harness.models.tiles import Tiles
from harness.types import HarnessError

SIDE = 4
WIDTH = 3 * SIDE**2
TIME = 400


def unclipped(denoiser: Denoiser, x_t: Tensor, time: int) -> Tensor:
    """x0_hat of one image by the plain formula."""
    abar = denoiser.schedule.alpha_bar[time]
    eps, _ = denoiser.predict_noise(x_t[None], torch.tensor([time]))
    return (x_t - (1 - abar) ** 0.5 * eps[0]) / abar**0.5


def of_random_unet(time: int = TIME, tile: int = 5) -> Jacobian:
    """J of a network with attention and random weights, in float64."""
    denoiser = random_unet()
    denoiser.network.double()
    return Jacobian(denoiser, images(1, SIDE)[0].double() * 2 - 1, time, Tiles(tile))


def dense(jacobian: Jacobian) -> Tensor:
    function = partial(unclipped, jacobian.denoiser, time=jacobian.time)
    matrix: Tensor = torch.autograd.functional.jacobian(function, jacobian.x_t)
    return matrix.reshape(WIDTH, WIDTH)


def of_mixture() -> tuple[Jacobian, Tensor]:
    """J of a mixture's optimal denoiser, written in torch so that it can be differentiated, and its closed form."""
    rng = np.random.default_rng(0)
    roots = rng.standard_normal((3, WIDTH, WIDTH)) / WIDTH**0.5
    means = rng.standard_normal((3, WIDTH))
    data = GaussianMixture(np.array([0.5, 0.3, 0.2]), means, roots @ roots.swapaxes(1, 2))
    schedule = linear()
    abar = schedule.alpha_bar[TIME]
    covariances = torch.from_numpy(abar * data.covariances + (1 - abar) * np.eye(WIDTH))
    inverses, log_volumes = torch.linalg.inv(covariances), torch.logdet(covariances)

    def noise(x: Tensor, t: Tensor) -> Tensor:
        offset = x.reshape(-1, 1, WIDTH) - abar**0.5 * torch.from_numpy(data.means)
        pulls = torch.einsum("nkd,kde->nke", offset, inverses)
        joint = torch.from_numpy(np.log(data.weights)) - ((pulls * offset).sum(2) + log_volumes) / 2
        return (1 - abar) ** 0.5 * torch.einsum("nk,nkd->nd", joint.softmax(1), pulls).reshape(x.shape)

    x0, _ = data.sample(rng, 1)
    x_t = abar**0.5 * x0 + (1 - abar) ** 0.5 * rng.standard_normal((1, WIDTH))
    formula = abar**0.5 / (1 - abar) * data.posterior_covariance(x_t, abar)[0]
    x = torch.from_numpy(x_t).reshape(3, SIDE, SIDE)
    return Jacobian(Denoiser(Analytic(noise), schedule), x, TIME, Tiles(7)), torch.from_numpy(formula)


def test_products_are_those_of_the_dense_matrix() -> None:
    jacobian = of_random_unet()
    matrix, vectors = dense(jacobian), normal(7, WIDTH).double()
    torch.testing.assert_close(jacobian.times(vectors), vectors @ matrix.T, rtol=1e-8, atol=1e-9)
    torch.testing.assert_close(jacobian.transposed(vectors), vectors @ matrix, rtol=1e-8, atol=1e-9)


def test_singular_vectors_are_those_of_the_dense_matrix() -> None:
    """With as many probes as there are dimensions nothing is left to chance."""
    jacobian = of_random_unet()
    found, expected = leading(jacobian, normal(WIDTH, WIDTH).double()), torch.linalg.svd(dense(jacobian))
    torch.testing.assert_close(found.s, expected.S, rtol=1e-8, atol=1e-9)
    torch.testing.assert_close(found.u.T * found.s @ found.v, dense(jacobian), rtol=1e-8, atol=1e-9)
    torch.testing.assert_close((found.u[0] @ expected.U[:, 0]).abs(), torch.tensor(1.0).double())


def test_few_probes_find_the_leading_values_of_a_falling_spectrum() -> None:
    jacobian, formula = of_mixture()
    exact = torch.linalg.svdvals(formula)
    found = leading(jacobian, normal(24, WIDTH).double())
    torch.testing.assert_close(found.s[:6], exact[:6], rtol=0.01, atol=0)


def test_of_the_optimal_denoiser_it_is_the_scaled_covariance_without_asymmetry() -> None:
    """Theorem 1, to rounding, with u and v equal: symmetric and positive semidefinite."""
    jacobian, formula = of_mixture()
    probes = torch.eye(WIDTH).double()
    torch.testing.assert_close(jacobian.times(probes).T, formula, rtol=1e-11, atol=1e-13)
    assert asymmetry(jacobian, normal(24, WIDTH).double()) < 1e-13
    found = leading(jacobian, normal(24, WIDTH).double())
    # In the trailing ones, probes mix with what they leave out.
    torch.testing.assert_close((found.u * found.v).sum(1)[:3], torch.ones(3).double(), rtol=0, atol=1e-3)


def test_asymmetry_is_the_share_of_the_antisymmetric_part() -> None:
    jacobian = of_random_unet()
    matrix = dense(jacobian)
    exact = float((matrix - matrix.T).norm() / (2 * matrix.norm()))
    assert exact > 0.01
    # As many orthogonal probes as there are dimensions make the estimate exact.
    assert asymmetry(jacobian, torch.eye(WIDTH).double()) == pytest.approx(exact, rel=1e-9)
    assert asymmetry(jacobian, normal(24, WIDTH).double()) == pytest.approx(exact, rel=0.3)


def test_a_large_time_is_no_limit() -> None:
    """J is of the unclipped prediction, which passes [-1, 1] at the last times."""
    jacobian = of_random_unet(999)
    assert (unclipped(jacobian.denoiser, jacobian.x_t, 999).abs() > 1).any()
    vectors = normal(3, WIDTH).double()
    torch.testing.assert_close(jacobian.times(vectors), vectors @ dense(jacobian).T, rtol=1e-8, atol=1e-7)


def test_tiles_change_no_product() -> None:
    vectors = normal(6, WIDTH).double()
    small, padded = of_random_unet(tile=4).times(vectors[:3]), of_random_unet(tile=4).times(vectors)
    assert torch.equal(small, padded[:3])


def test_times_outside_of_the_schedule_are_refused() -> None:
    with pytest.raises(HarnessError, match="time 1000 lies outside"):
        of_random_unet(1000)
