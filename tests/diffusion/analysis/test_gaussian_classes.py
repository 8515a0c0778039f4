"""Gaussian classes: the direction of their posterior's gradient against autograd, the covariance against sklearn."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.covariance import ledoit_wolf

from harness.diffusion.analysis.gaussian_classes import GaussianClasses
from harness.types import HarnessError

K = 4


def data(count: int, size: int, spread: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Images of classes with different means and one covariance that is far from a multiple of the identity."""
    rng = np.random.default_rng(size)
    labels = np.arange(count) % K
    mixing = rng.standard_normal((size, size)) * np.geomspace(1, 0.05, size)
    return spread * rng.standard_normal((K, size))[labels] + 0.3 * rng.standard_normal((count, size)) @ mixing, labels


def covariance(classes: GaussianClasses) -> np.ndarray:
    return classes.axes * classes.spread @ classes.axes.T + classes.floor * np.eye(len(classes.axes))


@pytest.mark.parametrize(("count", "size"), [(40, 12), (17, 30)], ids=["many images", "fewer images than pixels"])
def test_the_covariance_is_that_of_sklearn(count: int, size: int) -> None:
    images, labels = data(count, size)
    classes = GaussianClasses.fit(images, labels, K)
    means = np.stack([images[labels == k].mean(0) for k in range(K)])
    expected, shrinkage = ledoit_wolf(images - means[labels], assume_centered=True)
    assert 0.01 < shrinkage < 0.99
    assert covariance(classes) == pytest.approx(expected, abs=1e-12)
    assert classes.means == pytest.approx(means)


@pytest.mark.parametrize("abar", [0.99, 0.4, 0.02])
@pytest.mark.parametrize("spread", [0.1, 3.0], ids=["classes that overlap", "posterior of 1 but for rounding"])
def test_the_direction_is_the_gradient_of_the_exact_log_posterior(abar: float, spread: float) -> None:
    images, labels = data(17, 30, spread)
    classes = GaussianClasses.fit(images, labels, K)
    diffused = torch.from_numpy(abar * covariance(classes) + (1 - abar) * np.eye(30))
    x = torch.from_numpy(np.sqrt(abar) * images[5]).requires_grad_()
    log_joint = torch.stack(
        [
            np.log((labels == k).mean())
            + torch.distributions.MultivariateNormal(np.sqrt(abar) * torch.from_numpy(mean), diffused).log_prob(x)
            for k, mean in enumerate(classes.means)
        ]
    )
    assert classes.log_joint(x.detach().numpy(), abar) - log_joint.detach().numpy() == pytest.approx(
        np.full(K, float(classes.log_joint(x.detach().numpy(), abar)[0] - log_joint[0].detach())), abs=1e-9
    )
    for label in range(K):
        # log p = -log(1 + odds against): the form that keeps its digits.
        against = log_joint[[k for k in range(K) if k != label]].logsumexp(0) - log_joint[label]
        (gradient,) = torch.autograd.grad(-torch.nn.functional.softplus(against), x, retain_graph=True)
        rest = float(torch.sigmoid(against.detach()))
        direction = classes.direction(x.detach().numpy(), abar, label)
        assert rest * direction == pytest.approx(gradient.numpy(), rel=1e-8, abs=1e-10 * rest)


def test_a_posterior_of_one_still_has_a_direction() -> None:
    images, labels = data(40, 12, spread=300.0)
    classes = GaussianClasses.fit(images, labels, K)
    joint = classes.log_joint(images[0], 0.999)
    assert np.exp(joint - joint.max()).sum() == 1.0
    assert np.linalg.norm(classes.direction(images[0], 0.999, 0)) > 1.0


def test_bad_training_images_are_refused() -> None:
    images, labels = data(12, 5)
    with pytest.raises(HarnessError, match=r"0 training image\(s\) of class 4, and 5 classes"):
        GaussianClasses.fit(images, labels, 5)
    with pytest.raises(HarnessError, match="of class 3, and 3 classes"):
        GaussianClasses.fit(images, labels, 3)
    with pytest.raises(HarnessError, match="images of every class are alike"):
        GaussianClasses.fit(np.eye(4), np.arange(4), 4)
