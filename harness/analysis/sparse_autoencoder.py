"""TopK sparse autoencoders of features (Gao et al. 2024, arXiv:2406.04093), trained on features in memory."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from harness.base.noise import generator
from harness.metrics.features.reconstruction import normalised_mse, unexplained_variance
from harness.metrics.intervals import Undefined
from harness.types import HarnessError

LAYER_NORM_EPSILON = 1e-5
"""Added to the standard deviation of an image's features, as in the authors' code."""

AUXILIARY = 1 / 32
"""Weight of the loss of dead latents (appendix A.2)."""

FIRED = 1e-3
"""Activation above which a latent counts as alive, as in the authors' training code."""


@dataclass(frozen=True)
class SparseCodes:
    """Settings of the autoencoders.

    active: numbers of latents k that one image may use. width: latents, as a multiple of the features' dimension.
    seeds: trainings with other initial weights and another order, two at least. steps, batch, rate: of Adam; ours, for
    features of a few thousand images, where the authors train on billions of tokens. dead_after: passes over the images
    in which a latent has not fired, after which it is dead; ours, too.
    """

    active: tuple[int, ...] = (8, 16, 32, 64)
    width: int = 8
    seeds: int = 3
    steps: int = 500
    batch: int = 128
    rate: float = 1e-3
    dead_after: int = 5

    def __post_init__(self) -> None:
        if not self.active or min(self.active) < 1 or len(set(self.active)) < len(self.active):
            raise HarnessError(f"Active latents {self.active}: give different numbers from 1 on, such as 8,16,32,64.")
        least = {"width": 1, "seeds": 2, "steps": 1, "batch": 1, "dead_after": 1}
        for name, smallest in least.items():
            if getattr(self, name) < smallest:
                raise HarnessError(f"Sparse autoencoders need {name} >= {smallest}, not {getattr(self, name)}.")


@dataclass(frozen=True)
class SparseScores:
    """Errors of one autoencoder on held-out images, in the space of the normalised features.

    normalised_mse, unexplained: see `harness.metrics.features.reconstruction`. used: mean number of latents that are
    not 0 (L0, at most k). dead: share of the latents that no training image uses.
    """

    normalised_mse: float
    unexplained: float
    used: float
    dead: float


class TopKAutoencoder(nn.Module):
    """z = ReLU(TopK(W_e (x - b_pre) + b_e)), x' = W_d z + b_pre, W_d with columns of norm 1 (eq. 5 and 6).

    The decoder starts as the transposed encoder.
    """

    def __init__(self, dimension: int, latents: int, active: int) -> None:
        super().__init__()
        self.active = min(active, latents)
        self.encoder = nn.Linear(dimension, latents, bias=False)
        self.decoder = nn.Linear(latents, dimension, bias=False)
        self.before = nn.Parameter(torch.zeros(dimension))
        self.bias = nn.Parameter(torch.zeros(latents))
        with torch.no_grad():
            self.decoder.weight.copy_(self.encoder.weight.T)
        self.normalise()

    @torch.no_grad()
    def normalise(self) -> None:
        """Bring every column of the decoder to norm 1."""
        self.decoder.weight /= self.decoder.weight.norm(dim=0)

    @torch.no_grad()
    def project_gradient(self) -> None:
        """Take off the gradient's part along each column of the decoder, which `normalise` would undo."""
        gradient, weight = self.decoder.weight.grad, self.decoder.weight
        assert gradient is not None
        gradient -= (gradient * weight).sum(0) * weight

    def encode(self, x: Tensor) -> Tensor:
        """Pre-activations (B, M) of normalised features (B, D)."""
        return torch.addmm(self.bias, x - self.before, self.encoder.weight.T)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Latents (B, M) and reconstructions (B, D)."""
        latents = sparse(self.encode(x), self.active)
        return latents, self.decoder(latents) + self.before


def sparse(values: Tensor, active: int) -> Tensor:
    """ReLU of the largest `active` values of each row, 0 elsewhere: the selection comes first."""
    top = values.topk(active, dim=-1)
    return torch.zeros_like(values).scatter(-1, top.indices, top.values.relu())


def layer_normalised(features: Tensor) -> Tensor:
    """Features (n, D) of each image with mean 0 and standard deviation (n - 1) of about 1, as in the authors' code.

    Raises `Undefined` for images whose features are all equal, and for features of one dimension.
    """
    centred = features - features.mean(-1, keepdim=True)
    spread = centred.std(-1, keepdim=True) if features.shape[1] > 1 else torch.zeros(len(features), 1)
    if not (spread > 0).all():
        raise Undefined(
            f"Sparse autoencoders need features that differ within an image; those of {int((spread <= 0).sum())} "
            "images are all equal."
        )
    return centred / (spread + LAYER_NORM_EPSILON)


def sparse_scores(
    features: NDArray[np.float32], held_out: NDArray[np.float32], active: int, seed: int, settings: SparseCodes
) -> SparseScores:
    """Train one autoencoder on features (n, D), and its errors on held-out ones (m, D).

    active: latents k per image. seed: of the initial weights and the order. The result depends on these alone.
    """
    train, test = (layer_normalised(torch.from_numpy(values).float()) for values in (features, held_out))
    model = trained(train, active, seed, settings)
    with torch.no_grad():
        fires = torch.stack([(model(rows)[0] > 0).any(0) for rows in train.split(4_096)]).any(0)
        latents, rebuilt = model(test)
    x, y = test.double().numpy(), rebuilt.double().numpy()
    used = float((latents > 0).sum(1).double().mean())
    return SparseScores(normalised_mse(x, y), unexplained_variance(x, y), used, float((~fires).double().mean()))


def trained(train: Tensor, active: int, seed: int, settings: SparseCodes) -> TopKAutoencoder:
    """The autoencoder after the last step. train: normalised features (n, D)."""
    n, dimension = train.shape
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(generator(seed, "sparse-autoencoder", "").integers(2**62)))
        model = TopKAutoencoder(dimension, settings.width * dimension, active)
    with torch.no_grad():
        model.before.copy_(geometric_median(train))
    # Adam's epsilon is the authors'.
    optimizer = torch.optim.Adam(model.parameters(), lr=settings.rate, betas=(0.9, 0.999), eps=6.25e-10)
    revived = max(1, 2 ** round(np.log2(max(dimension / 2, 1))))
    silent = torch.zeros(settings.width * dimension, dtype=torch.int64)
    for rows in _batches(n, seed, settings):
        x = train[rows]
        values = model.encode(x)
        latents = sparse(values, model.active)
        rebuilt = model.decoder(latents) + model.before
        loss = _relative(rebuilt, x)
        silent = torch.where((latents > FIRED).any(0), 0, silent + len(rows))
        dead = silent > settings.dead_after * n
        if dead.any():
            ghosts = sparse(values.masked_fill(~dead, -torch.inf), min(revived, int(dead.sum())))
            residual = (x - rebuilt).detach()
            loss = loss + AUXILIARY * _relative(model.decoder(ghosts), residual).nan_to_num(0)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        model.project_gradient()
        optimizer.step()
        model.normalise()
    return model


def geometric_median(points: Tensor, iterations: int = 50) -> Tensor:
    """The point (D,) with the smallest sum of distances to points (n, D), by Weiszfeld's iteration from their mean."""
    centre = points.mean(0)
    for _ in range(iterations):
        weights = 1 / (points - centre).norm(dim=1, keepdim=True).clamp(min=1e-6)
        centre = (weights * points).sum(0) / weights.sum()
    return centre


def _relative(rebuilt: Tensor, target: Tensor) -> Tensor:
    """Normalised MSE, the loss: the mean over images of the squared error per squared norm."""
    return ((rebuilt - target).square().sum(1) / target.square().sum(1)).mean()


def _batches(n: int, seed: int, settings: SparseCodes) -> list[Tensor]:
    """Places of the images of every step: one order after another, each keyed by its number."""
    batch = min(settings.batch, n)
    per_pass = n // batch
    batches: list[Tensor] = []
    for turn in range(-(-settings.steps // per_pass)):
        order = torch.from_numpy(generator(seed, "sparse-autoencoder-order", "", turn).permutation(n))
        batches += order[: per_pass * batch].split(batch)
    return batches[: settings.steps]
