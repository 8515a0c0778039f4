"""Gaussian mixtures: data whose diffusion, score and optimal denoiser have a closed form. Everything is float64.

A component N(mu, S) diffused to alpha_bar is N(sqrt(abar) mu, abar S + (1 - abar) I). This serves known distributions
of few dimensions; `harness.diffusion.analysis.gaussian_classes` fits the classes of images, without a (D, D) matrix.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from harness.diffusion.schedule import Floats


@dataclass(frozen=True, eq=False)
class GaussianMixture:
    """A distribution of x_0 in D dimensions with K components.

    weights: (K,), positive, of sum 1. means: (K, D). covariances: (K, D, D), symmetric and positive semidefinite, or
    (1, D, D) for one that all components share. `abar` is alpha_bar of a time, in (0, 1); x_t is (N, D).
    """

    weights: Floats
    means: Floats
    covariances: Floats

    @cached_property
    def _axes(self) -> tuple[Floats, Floats]:
        """Eigenvalues (K, D) and eigenvectors (K, D, D), in columns, of the covariances: the same at all times."""
        values, vectors = np.linalg.eigh(self.covariances)
        return values.clip(0), vectors

    def sample(self, rng: np.random.Generator, count: int) -> tuple[Floats, np.ndarray]:
        """Draws of x_0 (count, D), and their components (count,)."""
        component = rng.choice(len(self.weights), size=count, p=self.weights)
        values, vectors = self._axes
        shape = np.broadcast_to(vectors * np.sqrt(values)[:, None], (len(self.weights), *self.covariances.shape[1:]))
        normal = rng.standard_normal((count, self.means.shape[1]))
        return self.means[component] + np.einsum("nij,nj->ni", shape[component], normal), component

    def log_joint(self, x_t: Floats, abar: float) -> Floats:
        """Logarithm of p(component, x_t), (N, K)."""
        offset, variance = self._along_axes(x_t, abar)
        normal = (offset**2 / variance + np.log(2 * np.pi * variance)).sum(2)
        return np.log(self.weights) - normal / 2

    def log_density(self, x_t: Floats, abar: float) -> Floats:
        """Logarithm of p(x_t), (N,)."""
        return np.logaddexp.reduce(self.log_joint(x_t, abar), axis=1)

    def responsibilities(self, x_t: Floats, abar: float) -> Floats:
        """p(component | x_t), (N, K)."""
        joint = self.log_joint(x_t, abar)
        return np.exp(joint - np.logaddexp.reduce(joint, axis=1, keepdims=True))

    def component_scores(self, x_t: Floats, abar: float) -> Floats:
        """Gradient of log p(x_t | component) by x_t, (N, K, D)."""
        offset, variance = self._along_axes(x_t, abar)
        return -self._from_axes(offset / variance)

    def score(self, x_t: Floats, abar: float) -> Floats:
        """Gradient of log p(x_t) by x_t, (N, D)."""
        return np.einsum("nk,nkd->nd", self.responsibilities(x_t, abar), self.component_scores(x_t, abar))

    def posterior_mean(self, x_t: Floats, abar: float) -> Floats:
        """E[x_0 | x_t] by Tweedie's formula, (N, D): (x_t + (1 - abar) score) / sqrt(abar). The optimal denoiser."""
        return (x_t + (1 - abar) * self.score(x_t, abar)) / np.sqrt(abar)

    def posterior_covariance(self, x_t: Floats, abar: float) -> Floats:
        """Cov[x_0 | x_t], (N, D, D), by the law of total covariance over the components."""
        offset, variance = self._along_axes(x_t, abar)
        values, vectors = self._axes
        means = self.means + np.sqrt(abar) * self._from_axes(values * offset / variance)
        shared = values * (1 - abar) / (abar * values + 1 - abar)
        within = np.einsum("kia,ka,kja->kij", vectors, shared, vectors)
        share = self.responsibilities(x_t, abar)
        apart = means - np.einsum("nk,nkd->nd", share, means)[:, None]
        within = np.broadcast_to(within, (len(self.weights), *within.shape[1:]))
        return np.einsum("nk,kij->nij", share, within) + np.einsum("nk,nki,nkj->nij", share, apart, apart)

    def _along_axes(self, x_t: Floats, abar: float) -> tuple[Floats, Floats]:
        """x_t minus the diffused means along each component's axes (N, K, D), and its variances there (K, D)."""
        values, vectors = self._axes
        offset = x_t[:, None] - np.sqrt(abar) * self.means
        return np.matmul(offset.swapaxes(0, 1), vectors).swapaxes(0, 1), abar * values + 1 - abar

    def _from_axes(self, along: Floats) -> Floats:
        """Vectors (N, K, D) along the components' axes, in the coordinates of x_t."""
        _, vectors = self._axes
        return np.matmul(along.swapaxes(0, 1), vectors.swapaxes(1, 2)).swapaxes(0, 1)
