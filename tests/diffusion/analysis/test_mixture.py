"""Gaussian mixtures in closed form, against automatic differentiation and plain averages."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from harness.diffusion.analysis.mixture import GaussianMixture

ABAR = 0.3


def mixture(components: int = 3, dimensions: int = 2, shared: bool = False) -> GaussianMixture:
    rng = np.random.default_rng(0)
    roots = rng.standard_normal((1 if shared else components, dimensions, dimensions))
    weights = rng.random(components) + 0.2
    means = 2 * rng.standard_normal((components, dimensions))
    return GaussianMixture(weights / weights.sum(), means, roots @ roots.swapaxes(1, 2) / 4)


def points(count: int = 5, dimensions: int = 2) -> np.ndarray:
    return np.random.default_rng(1).standard_normal((count, dimensions))


def log_density(data: GaussianMixture, x: torch.Tensor, abar: float) -> torch.Tensor:
    """The same by torch's own distributions, (N,)."""
    covariances = torch.from_numpy(abar * data.covariances + (1 - abar) * np.eye(data.means.shape[1]))
    normal = torch.distributions.MultivariateNormal(torch.from_numpy(abar**0.5 * data.means), covariances)
    return (normal.log_prob(x[:, None]) + torch.from_numpy(data.weights).log()).logsumexp(1)


@pytest.mark.parametrize("shared", [False, True])
def test_density_and_score_are_those_of_torch(shared: bool) -> None:
    data = mixture(dimensions=3, shared=shared)
    x = torch.from_numpy(points(dimensions=3)).requires_grad_()
    expected = log_density(data, x, ABAR)
    (score,) = torch.autograd.grad(expected.sum(), x)
    np.testing.assert_allclose(data.log_density(points(dimensions=3), ABAR), expected.detach(), rtol=1e-12)
    np.testing.assert_allclose(data.score(points(dimensions=3), ABAR), score, rtol=1e-11, atol=1e-13)


def test_scores_of_components_are_those_of_each_alone() -> None:
    data = mixture()
    for k in range(3):
        alone = GaussianMixture(np.ones(1), data.means[k : k + 1], data.covariances[k : k + 1])
        np.testing.assert_allclose(data.component_scores(points(), ABAR)[:, k], alone.score(points(), ABAR), rtol=1e-12)


@pytest.mark.parametrize("shared", [False, True])
def test_posterior_moments_are_averages_of_weighted_samples(shared: bool) -> None:
    """Bayes by importance: x_0 from the prior, weighted by p(x_t | x_0)."""
    data, (x_t,) = mixture(shared=shared), points(1)
    x0, _ = data.sample(np.random.default_rng(2), 400_000)
    weights = np.exp(-((x_t - ABAR**0.5 * x0) ** 2).sum(1) / (2 * (1 - ABAR)))
    mean = np.average(x0, axis=0, weights=weights)
    covariance = np.cov(x0.T, aweights=weights, ddof=0)
    np.testing.assert_allclose(data.posterior_mean(x_t[None], ABAR)[0], mean, atol=0.01)
    np.testing.assert_allclose(data.posterior_covariance(x_t[None], ABAR)[0], covariance, atol=0.02)


@pytest.mark.parametrize("abar", [0.999, 0.3, 1e-4])
def test_the_derivative_of_the_optimal_denoiser_is_the_scaled_covariance(abar: float) -> None:
    """Theorem 1: the derivative of E[x_0 | x_t], here by central differences, is symmetric."""
    data, step = mixture(dimensions=3, components=2), 1e-5
    shifts = step * np.eye(3)
    x = points(4, 3)
    columns = [data.posterior_mean(x + shift, abar) - data.posterior_mean(x - shift, abar) for shift in shifts]
    derivative = np.stack(columns, 2) / (2 * step)
    formula = abar**0.5 / (1 - abar) * data.posterior_covariance(x, abar)
    np.testing.assert_allclose(derivative, formula, rtol=1e-6, atol=1e-8)


def test_samples_have_the_moments_of_the_mixture() -> None:
    data = mixture()
    x0, component = data.sample(np.random.default_rng(3), 200_000)
    for k in range(3):
        assert (component == k).mean() == pytest.approx(data.weights[k], abs=0.005)
        np.testing.assert_allclose(x0[component == k].mean(0), data.means[k], atol=0.02)
        np.testing.assert_allclose(np.cov(x0[component == k].T), data.covariances[k], atol=0.02)
